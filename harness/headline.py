"""What ranks defences under each threat model and task: THE table of headlines."""

from __future__ import annotations

from dataclasses import dataclass

from harness.judge import metrics
from harness.threat import THREATS


@dataclass(frozen=True)
class Headline:
    """The figure that ranks.

    Attributes:
        rule: ``joint``, ``greedy`` or ``single`` (see ``worst_case``).
        metric: a cell's figure. clean: what stands beside it. control: the same figure on the
            network that was trained without the attack, or empty.
        kept: the outcome bit that says "kept" in a paired test.
        higher_is_better: from the defender's side.
        title: the column. short: of one cell. what: in a few words. how: the rule, in a sentence.
        brief: the rule in one sentence, for the top of a page. things: what is counted.
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


_THINGS = {"classification": "examples", "ranking": "comparisons", "segmentation": "images"}


def headline_of(threat_model: str, task: str) -> Headline:
    """The headline of a threat model and a task.

    >>> headline_of("evasion", "classification").metric
    'robust_accuracy'
    >>> headline_of("backdoor", "classification").higher_is_better
    False
    """
    at_test = THREATS[threat_model].at_test
    clean, things = metrics.CLEAN[task], _THINGS[task]
    if at_test == "trigger":
        return Headline(
            rule="single",
            metric="attack_success_rate",
            clean=clean,
            control="control_success_rate",
            kept="success",
            higher_is_better=False,
            title="Attack success",
            short="success",
            what="success of the strongest attack; lower is better",
            how="The attacker must choose one attack before training, so the strongest single one "
            "counts. Beside it stands the control: the same trigger shown to the same defence "
            "trained without the attack. What the two share is no backdoor.",
            brief="What counts is how often the strongest attack succeeds, beside the same trigger "
            "on a network that was never attacked.",
            things=things,
        )
    if at_test is None:
        left = "mIoU" if task == "segmentation" else "accuracy"
        return Headline(
            rule="single",
            metric="miou" if task == "segmentation" else "accuracy",
            clean=clean,
            control="",
            kept="after",
            higher_is_better=True,
            title=f"Poisoned {left}",
            short=f"{left} left",
            what=f"{left} left under the worst attack",
            how="The attacker must choose one attack before training, so the worst single one "
            "counts. Clean is the same defence trained on untouched data.",
            brief=f"What counts is the {left} left after training on the worst attack’s edits.",
            things=things,
        )
    if task == "segmentation":
        return Headline(
            rule="greedy",
            metric="miou",
            clean=clean,
            control="",
            kept="after",
            higher_is_better=True,
            title="Robust mIoU",
            short="mIoU left",
            what="mIoU left when each image meets its worst attack",
            how="Each image meets the attack that lowers the mIoU of the whole slice most (greedy "
            "choice), so the figure lies at or below every single attack’s.",
            brief="Each image meets the attack that hurts it most; nothing is averaged.",
            things=things,
        )
    return Headline(
        rule="joint",
        metric=metrics.HEADLINE[task] if task == "classification" else "accuracy",
        clean=clean,
        control="",
        kept="after",
        higher_is_better=True,
        title="Robust",
        short="accuracy left",
        what="accuracy left when every attack has been tried",
        how=f"One of the {things} counts as kept only if it is right before and after every "
        "attack, so the figure lies at or below every single attack’s; nothing is averaged "
        "over attacks.",
        brief=f"One of the {things} counts as kept only if every attack fails on it; nothing is "
        "averaged.",
        things=things,
    )


def heat_class(headline: Headline, task: str, value: float, clean: float | None) -> int | None:
    """Damage class 0–9 on the fixed scale of the metric; ``None`` where it has no rule.

    >>> heat_class(headline_of("evasion", "classification"), "classification", 0.9, None)
    1
    """
    damage = metrics.damage(headline.metric, task, value, clean)
    # The slack keeps 1 − 0.9 = 0.0999… in the class of one tenth.
    return None if damage is None else min(9, int(10 * damage + 1e-9))
