"""Whether the attacks of a targeted matrix aim at their targets, or merely make errors.

An attack that ignores its goal reaches some targets all the same: an error falls on some class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.report.drafts import Draft
from harness.report.paired_tests import significantly_better
from harness.report.resisting import resisting
from harness.report.worst_case import Outcome, Worst

LEAST_SHARE = {"classification": 0.25, "segmentation": 0.15}
"""Task → least share of an attack's errors that are its targets.

On digits, within L2 0.5 and L∞ 32/255, pooled over defences, by each rule but ``least_likely``,
which no attack reaches: one targeted step 0.33 to 0.54, many steps 0.9 and more; the same attacks
without their goal 0.19 at most. Of pixels of scenes, within L∞ 8/255: one targeted step 0.21, many
0.34, without their goal 0.10. With few classes errors fall on the target so often by chance that
nothing is seen: with four, a third of them.
"""
IGNORES = "it seems not to aim"
NO_MORE_THAN_CONTROL = "does not reach its target significantly more often than the control does"


def misses(drafts: Sequence[Draft]) -> dict[str, str]:
    """Return attack → why it is doubtful whether it aims, of those measured where it is.

    Args:
        drafts: the defences of a targeted table.
    """
    controls = {row.attack for draft in drafts for row in draft.group if row.attack_control}
    labels = dict.fromkeys(
        row.attack
        for draft in drafts
        for row in draft.group
        if row.attack in draft.own and not row.made_against and row.attack not in controls
    )
    found = {}
    for label in labels:
        runs = [draft.own[label] for draft in drafts if draft.own.get(label)]
        if not runs:
            continue
        share = share_at_target([outcome for run in runs for outcome in run.values()])
        if not any(_beats(draft, label, controls) for draft in drafts):
            found[label] = NO_MORE_THAN_CONTROL
        elif share is not None and share < LEAST_SHARE[drafts[0].group[0].task]:
            found[label] = f"only {100 * share:.0f} % of its errors are its target: {IGNORES}"
    return found


def share_at_target(outcomes: Sequence[Outcome]) -> float | None:
    """Return the share of errors that are the target, ``None`` without errors.

    Args:
        outcomes: of one attack; only examples or pixels that have a target are counted.
    """
    counts = [_hits_and_errors(one) for one in outcomes]
    hits, wrong = (sum(column) for column in zip(*counts, strict=True))
    return hits / wrong if wrong else None


def _hits_and_errors(outcome: Outcome) -> tuple[int, int]:
    if outcome.targets is not None:
        return int(outcome.targets.reached.sum()), int(outcome.targets.wrong.sum())
    wrong = outcome.bits["eligible"] & ~outcome.bits["after"]
    return int(outcome.bits["success"].sum()), int(wrong.sum())


def _beats(draft: Draft, label: str, controls: set[str]) -> bool:
    """Return whether an attack reaches significantly more targets than each control does."""
    attack = _reached(draft.own, label)
    others = [one for name in controls if (one := _reached(draft.own, name)) is not None]
    if attack is None:
        return False
    if not others:
        return attack.score.value < 1
    return all(significantly_better(one.evidence, attack.evidence) for one in others)


def _reached(runs: Mapping[str, Mapping[int, Outcome]], label: str) -> Worst | None:
    if not runs.get(label):
        return None
    maps = any(outcome.targets for outcome in runs[label].values())
    return resisting({label: runs[label]}, "images" if maps else "joint", "success")
