"""What classification and ranking share: every example is right or wrong, before and after."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.judge.statistics import paired_difference
from harness.judge.values import NO_AFTER, Absent, Metrics, Rate, proportion, with_interval

Bits = NDArray[np.bool_]

NONE_RIGHT = "no input was right before the attack"
_EMPTY = "the slice is empty"


def right_and_held(right: Bits, held: Bits | None) -> tuple[Metrics, dict[str, Bits]]:
    """The figures that every right-or-wrong task has, and the bits they come from.

    Args:
        right: bool ``[N]``, right before the attack.
        held: right under attack, or ``None`` where no such prediction exists.
    """
    metrics: Metrics = {"clean_accuracy": share(right)}
    if held is None:
        names = ("accuracy", "robust_accuracy", "attack_success_rate", "accuracy_drop", "flip_rate")
        return metrics | {name: Absent(NO_AFTER) for name in names}, {"before": right}
    metrics["accuracy"] = share(held)
    metrics["robust_accuracy"] = share(right & held)
    metrics["accuracy_drop"] = _drop(right, held)
    return metrics, {"before": right, "after": held}


def share(bits: Bits) -> Rate | Absent:
    """Share of the slice where ``bits`` is true."""
    return proportion(int(bits.sum()), len(bits), _EMPTY)


def of_right(success: Bits, right: Bits) -> Rate | Absent:
    """Share of successes among the examples right before the attack."""
    return proportion(int(np.sum(success & right)), int(right.sum()), NONE_RIGHT)


def wrong_outputs(before: Bits, after: Bits | None) -> dict[str, int]:
    """Examples whose outputs are not finite, by prediction; only where there are any."""
    counts = {"before": int(before.sum()), "after": 0 if after is None else int(after.sum())}
    return {name: count for name, count in counts.items() if count}


def _drop(right: Bits, held: Bits) -> Rate | Absent:
    n = len(right)
    if not n:
        return Absent(_EMPTY)
    both, lost, won = (int(np.sum(b)) for b in (right & held, right & ~held, held & ~right))
    interval = paired_difference(both, lost, won, n - both - lost - won)
    return with_interval((lost - won) / n, interval, "newcombe")
