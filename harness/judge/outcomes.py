"""Figures of classification and ranking, where each example is right or wrong before and after."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.judge.statistics import paired_difference, wilson
from harness.judge.values import NO_AFTER, Absent, Metrics, Rate, proportion, with_interval

Bits = NDArray[np.bool_]

NONE_RIGHT = "no input was right before the attack"
_EMPTY = "the slice is empty"


def accuracy_figures(right: Bits, right_after: Bits | None) -> tuple[Metrics, dict[str, Bits]]:
    """Return the accuracy figures of both tasks, and the outcome bits behind them.

    Args:
        right: bool ``[N]``, right before the attack.
        right_after: right under attack, or ``None`` where no such prediction exists.
    """
    metrics: Metrics = {"clean_accuracy": share(right)}
    if right_after is None:
        names = ("accuracy", "robust_accuracy", "attack_success_rate", "accuracy_drop", "flip_rate")
        return metrics | {name: Absent(NO_AFTER) for name in names}, {"before": right}
    metrics["accuracy"] = share(right_after)
    metrics["robust_accuracy"] = share(right & right_after)
    metrics["accuracy_drop"] = _accuracy_drop(right, right_after)
    return metrics, {"before": right, "after": right_after}


def share(bits: Bits) -> Rate | Absent:
    """Return the share of the eval subset where ``bits`` is true."""
    return proportion(int(bits.sum()), len(bits), _EMPTY)


def mean_share(draws: Bits) -> Rate | Absent:
    """Return the mean over draws ``[D, N]`` of the share of the eval subset where bits are true.

    The interval is Wilson's at N examples, as if the mean had been counted in one draw.
    """
    n = draws.shape[1]
    if not n:
        return Absent(_EMPTY)
    k = int(draws.sum()) / len(draws)
    return with_interval(k / n, wilson(k, n), "wilson")


def share_of_right(success: Bits, right: Bits) -> Rate | Absent:
    """Return the share of successes among the examples right before the attack."""
    return proportion(int(np.sum(success & right)), int(right.sum()), NONE_RIGHT)


def nonfinite_counts(before: Bits, after: Bits | None) -> dict[str, int]:
    """Count examples with outputs that are not finite, by prediction; zero counts are left out."""
    counts = {"before": int(before.sum()), "after": 0 if after is None else int(after.sum())}
    return {name: count for name, count in counts.items() if count}


def _accuracy_drop(right: Bits, right_after: Bits) -> Rate | Absent:
    """Return the difference of the accuracies before and after, as a paired difference."""
    n = len(right)
    if not n:
        return Absent(_EMPTY)
    both, lost, won = (
        int(np.sum(b)) for b in (right & right_after, right & ~right_after, right_after & ~right)
    )
    interval = paired_difference(both, lost, won, n - both - lost - won)
    return with_interval((lost - won) / n, interval, "newcombe")
