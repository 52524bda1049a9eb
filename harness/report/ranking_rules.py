"""Ranking rules: the figure that ranks defences under each threat model, task and goal."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from harness.config.threat import THREATS
from harness.judge import metrics


@dataclass(frozen=True)
class Headline:
    """The figure that ranks defences, with its texts.

    Attributes:
        rule: ``joint``, ``greedy``, ``images`` or ``single`` (see ``worst_case``).
        metric: key of the figure in a record.
        clean: key of the figure beside it.
        control: key of the same figure for a network trained without the attack, or empty.
        clean_form: the same for one that starts from what the attack delivers in its clean form.
        kept: outcome bit that decides whether an example is robust, in the worst case and in paired
            tests: ``after`` (right after the attack), ``success`` (the goal is not reached), or
            ``pixels``, where those that resist are counted.
        higher_is_better: direction, from the defender's side.
        title: column title.
        short: name of one cell's figure.
        what: the figure in a few words.
        how: the rule in a sentence.
        brief: the rule in one sentence, for the top of a page.
        things: what is counted.
        untargeted: key of the figure beside that of a targeted matrix, which counts any error;
            empty where the goal is any error.
        untargeted_title: its title.
        untargeted_how: what it is, in a sentence.
        target: rule that chose the targets, in a few words; empty without targets.
    """

    rule: str
    metric: str
    clean: str
    control: str
    kept: str
    higher_is_better: bool
    title: str
    short: str
    what: str
    how: str
    brief: str
    things: str
    untargeted: str = ""
    untargeted_title: str = ""
    untargeted_how: str = ""
    target: str = ""
    clean_form: str = ""

    @property
    def targeted(self) -> bool:
        """Whether attacks must reach a target class, not merely any error."""
        return bool(self.target)

    @property
    def sign(self) -> int:
        """1 where more is better for the defender, else −1."""
        return 1 if self.higher_is_better else -1


_TRIGGER = Headline(
    rule="single",
    metric="attack_success_rate",
    clean="{clean}",
    control="control_success_rate",
    kept="success",
    higher_is_better=False,
    title="Attack success",
    short="success",
    what="success rate of the strongest attack; lower is better",
    how="The attacker must choose one attack before training, so the strongest single attack "
    "counts. The control is the success rate of the same trigger on the same defence, trained "
    "without the attack. Success that the control shows, too, is not due to a backdoor. Where the "
    "attacker's classes are not the student's, any wrong answer counts, and rows say so.",
    brief="Defences are ranked by the success rate of the strongest attack; the control is the "
    "same trigger on a network trained without the attack.",
    things="{things}",
)
_DELIVERED = replace(
    _TRIGGER,
    clean_form="clean_form_success_rate",
    how=f"{_TRIGGER.how} The clean-form control starts from what the attacker delivers after the "
    "same training on clean data, where the attack names such a form of itself. Success is read "
    "against both.",
)
_POISONED = Headline(
    rule="single",
    metric="{figure}",
    clean="{clean}",
    control="",
    kept="after",
    higher_is_better=True,
    title="Poisoned {left}",
    short="{left} left",
    what="{left} after training on data that the strongest attack edited",
    how="The attacker must choose one attack before training, so the strongest single attack "
    "counts. Clean is the same defence, trained on unedited data.",
    brief="Defences are ranked by the {left} after training on data that the strongest attack "
    "edited.",
    things="{things}",
)
_JOINT = Headline(
    rule="joint",
    metric="{robust}",
    clean="{clean}",
    control="",
    kept="after",
    higher_is_better=True,
    title="Robust",
    short="accuracy left",
    what="accuracy under the worst case of all attacks",
    how="{one} counts as robust only if the prediction is correct before and after every "
    "attack. The accuracy is therefore at most the accuracy under each single attack; results "
    "are not averaged over attacks.",
    brief="{one} counts as robust only if every attack fails on it; results are not averaged "
    "over attacks.",
    things="{things}",
)
_GREEDY = Headline(
    rule="greedy",
    metric="{robust}",
    clean="{clean}",
    control="",
    kept="after",
    higher_is_better=True,
    title="Robust mIoU",
    short="mIoU left",
    what="mIoU with the strongest attack chosen for each image",
    how="Each image counts with the attack that lowers the mIoU of the whole evaluation subset "
    "most (greedy choice). The mIoU is therefore at most the mIoU under each single attack.",
    brief="Each image counts with the attack that lowers the pooled mIoU most; results are not "
    "averaged over attacks.",
    things="{things}",
)
_TARGETED = Headline(
    rule="joint",
    metric="attack_success_rate",
    clean="{clean}",
    control="",
    kept="success",
    higher_is_better=False,
    title="Targeted success",
    short="targeted success",
    what="share of {things} whose target class some attack reaches; lower is better",
    how="Each example has a target class: {target}. {one} counts as resisting only if no attack "
    "reaches its target on it, so the success is at least that of each single attack; the other "
    "{things} resist. Only {things} that are right before the attack and not of their target class "
    "count. An error that misses the target is no success; robust accuracy counts it.",
    brief="The attacks are targeted: they must make the network answer {target}. {one} counts as "
    "resisting only if no attack reaches its target on it.",
    things="{things}",
    untargeted="{robust}",
    untargeted_title="Robust accuracy",
    untargeted_how="Share of all {things} that are right before and after every attack. Here any "
    "error counts, also one that misses the target; attacks without a target may cause more.",
    target="{target}",
)
_TARGETED_MAPS = replace(
    _TARGETED,
    rule="images",
    metric="targeted_success_rate",
    kept="pixels",
    what="share of pixels whose target class the strongest attack on each image reaches; lower is "
    "better",
    how="Each pixel has a target class: {target}. Each image counts with the attack that makes "
    "most of its pixels their target, so the success is at least that of each single attack; the "
    "other pixels resist. Only labelled pixels that are right before the attack and not of their "
    "target class count. An error that misses the target is no success; mIoU counts it.",
    brief="The attacks are targeted: they must make the network answer {target} at each pixel. "
    "Each image counts with the attack that reaches most targets.",
    untargeted_title="mIoU left",
    untargeted_how="mIoU with the attack on each image that lowers the pooled mIoU most (greedy "
    "choice). Here any error counts, also one that misses the target; attacks without a target may "
    "cause more.",
)

_WORDS: dict[str, dict[str, str]] = {
    "classification": {
        "things": "examples",
        "one": "An example",
        "figure": "accuracy",
        "robust": "robust_accuracy",
        "left": "accuracy",
    },
    "ranking": {
        "things": "comparisons",
        "one": "A comparison",
        "figure": "accuracy",
        "robust": "accuracy",
        "left": "accuracy",
    },
    "segmentation": {
        "things": "images",
        "one": "An image",
        "figure": "miou",
        "robust": "miou",
        "left": "mIoU",
    },
}
"""Task → texts that complete its headlines."""

_RULES: dict[str | None, dict[str, Headline]] = {
    "deliver": dict.fromkeys(_WORDS, _DELIVERED),
    "trigger": dict.fromkeys(_WORDS, _TRIGGER),
    None: dict.fromkeys(_WORDS, _POISONED),
    "perturb": {"classification": _JOINT, "ranking": _JOINT, "segmentation": _GREEDY},
}
"""``deliver``, or else the attack's hook at test time → task → headline."""


_TARGETS = {
    "next": "the class that follows the true one",
    "random": "another class, drawn for each example",
    "least_likely": "the class that the network finds least likely",
}
"""Rule that chooses targets → the rule in words; any other is the number of a class."""


def target_words(target: int | str) -> str:
    """Return a target in words: the number of a class, or the rule that chooses one.

    >>> target_words(3), target_words("next")
    ('class 3', 'the class that follows the true one')
    """
    return _TARGETS.get(str(target), f"class {target}")


_TARGETED_RULES = {"classification": _TARGETED, "segmentation": _TARGETED_MAPS}
"""Task → headline of a targeted matrix."""


def _filled(template: Headline, task: str, target: str = "") -> Headline:
    words = _WORDS[task] | {"clean": metrics.CLEAN[task], "target": target}
    texts: dict[str, Any] = {
        part.name: value.format(**words)
        for part in fields(template)
        if isinstance(value := getattr(template, part.name), str)
    }
    return replace(template, **texts)


HEADLINES: dict[tuple[str, str], Headline] = {
    (threat.name, task): _filled(headline, task)
    for threat in THREATS.values()
    for task, headline in _RULES["deliver" if threat.delivers else threat.at_test].items()
}
"""(threat model, task) → headline of an untargeted matrix: THE table of ranking rules."""


def headline_of(threat_model: str, task: str, goal: str = "untargeted") -> Headline:
    """Return the headline of a threat model, a task and a goal.

    Args:
        threat_model: name of the threat model.
        task: name of the task.
        goal: label of a matrix's goal, ``untargeted`` or ``targeted: RULE``.

    >>> headline_of("evasion", "classification").metric
    'robust_accuracy'
    >>> headline_of("backdoor", "classification").higher_is_better
    False
    >>> headline_of("evasion", "classification", "targeted: 3").target
    'class 3'
    """
    _, targeted, rule = goal.partition("targeted: ")
    if not targeted:
        return HEADLINES[threat_model, task]
    return _filled(_TARGETED_RULES[task], task, target_words(rule))


def heat_class(headline: Headline, task: str, value: float, clean: float | None) -> int | None:
    """Return the damage class 0–9 on the metric's fixed scale, or ``None`` without a rule.

    >>> heat_class(headline_of("evasion", "classification"), "classification", 0.9, None)
    1
    """
    damage = metrics.damage(headline.metric, task, value, clean)
    # The slack keeps 1 − 0.9 = 0.0999… in the class of one tenth.
    return None if damage is None else min(9, int(10 * damage + 1e-9))
