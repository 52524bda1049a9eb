"""Ranking rules: the figure that ranks defences under each threat model and task."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.config.threat import THREATS
from harness.judge import metrics


@dataclass(frozen=True)
class Headline:
    """The figure that ranks defences, with its texts.

    Attributes:
        rule: ``joint``, ``greedy`` or ``single`` (see ``worst_case``).
        metric: key of the figure in a record.
        clean: key of the figure beside it.
        control: key of the same figure for a network trained without the attack, or empty.
        kept: outcome bit that means "robust" in a paired test.
        higher_is_better: direction, from the defender's side.
        title: column title.
        short: name of one cell's figure.
        what: the figure in a few words.
        how: the rule in a sentence.
        brief: the rule in one sentence, for the top of a page.
        things: what is counted.
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
    "without the attack. Success that the control shows, too, is not due to a backdoor.",
    brief="Defences are ranked by the success rate of the strongest attack; the control is the "
    "same trigger on a network trained without the attack.",
    things="{things}",
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
    "trigger": dict.fromkeys(_WORDS, _TRIGGER),
    None: dict.fromkeys(_WORDS, _POISONED),
    "perturb": {"classification": _JOINT, "ranking": _JOINT, "segmentation": _GREEDY},
}
"""The attack's hook at test time → task → headline."""


def _filled(template: Headline, task: str) -> Headline:
    words = _WORDS[task] | {"clean": metrics.CLEAN[task]}
    return replace(
        template,
        metric=template.metric.format(**words),
        clean=template.clean.format(**words),
        title=template.title.format(**words),
        short=template.short.format(**words),
        what=template.what.format(**words),
        how=template.how.format(**words),
        brief=template.brief.format(**words),
        things=template.things.format(**words),
    )


HEADLINES: dict[tuple[str, str], Headline] = {
    (threat.name, task): _filled(headline, task)
    for threat in THREATS.values()
    for task, headline in _RULES[threat.at_test].items()
}
"""(threat model, task) → headline: THE table of ranking rules."""


def headline_of(threat_model: str, task: str) -> Headline:
    """Return the headline of a threat model and a task.

    >>> headline_of("evasion", "classification").metric
    'robust_accuracy'
    >>> headline_of("backdoor", "classification").higher_is_better
    False
    """
    return HEADLINES[threat_model, task]


def heat_class(headline: Headline, task: str, value: float, clean: float | None) -> int | None:
    """Return the damage class 0–9 on the metric's fixed scale, or ``None`` without a rule.

    >>> heat_class(headline_of("evasion", "classification"), "classification", 0.9, None)
    1
    """
    damage = metrics.damage(headline.metric, task, value, clean)
    # The slack keeps 1 − 0.9 = 0.0999… in the class of one tenth.
    return None if damage is None else min(9, int(10 * damage + 1e-9))
