"""Judge of attacks that look for the nearest wrong input: how far away it is that they found.

A distance is an upper bound: a better attack may find a nearer one. That of an input without any is
infinite, so that figures are medians and shares, never means.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrik

from harness.judge.budget import L2_TOLERANCE, TOLERANCE, Distances
from harness.judge.statistics import LEVEL, Interval
from harness.judge.values import Absent, Metrics, with_interval

Bits = NDArray[np.bool_]
Floats = NDArray[np.float64]

MEDIAN = "median_distance"
METHOD = "order statistics"
TOO_FEW = "fewer than half of the inputs were made wrong at any distance, so that it is infinite"


def lengths(distances: Distances, norm: str) -> Floats:
    """Return the length of each change in a norm, ``linf`` or ``l2``, ``[N]``."""
    return distances.linf if norm == "linf" else distances.l2


def within(distances: Floats, norm: str, eps: float) -> Bits:
    """Return which changes of given lengths keep a radius, with the tolerance of budgets.

    >>> within(np.array([0.1, 0.1000005, 0.2, np.inf]), "linf", 0.1).tolist()
    [True, True, False, False]
    """
    return distances <= eps + (TOLERANCE if norm == "linf" else eps * L2_TOLERANCE)


def nearest(right: Bits, right_after: Bits, found: Floats) -> Floats:
    """Return how far the nearest wrong input is that was found, ``[N]``.

    It is 0 where the clean input is wrong already, and infinite where the attack handed back an
    input that is right.

    >>> nearest(np.array([1, 1, 0], bool), np.array([0, 1, 1], bool), np.array([0.3, 9, 9]))
    array([0.3, inf, 0. ])
    """
    return np.where(right, np.where(right_after, np.inf, found), 0.0)


def distance_figures(distances: Floats) -> Metrics:
    """Return the median distance with its interval, from the examples' ranks (exact).

    Without a finite upper end there is no interval.

    Args:
        distances: of ``nearest``, ``[N]``.

    >>> distance_figures(np.arange(100.0))["median_distance"].to_json()["lo"]
    39.0
    >>> distance_figures(np.array([0.1, np.inf]))["median_distance"].to_json()["absent"][:15]
    'fewer than half'
    """
    if not len(distances):
        return {MEDIAN: Absent("the slice is empty")}
    value = median(distances)
    if not math.isfinite(value):
        return {MEDIAN: Absent(TOO_FEW)}
    return {MEDIAN: with_interval(value, median_interval(distances), METHOD)}


def median(distances: Floats) -> float:
    """Return the median; of two middle values of which one is infinite it is infinite, too."""
    return float(np.median(distances))


def median_interval(distances: Floats) -> Interval | None:
    """Return the interval of the median by order statistics at the judge's level.

    It ends at the examples of rank l and n + 1 − l, where l is the largest rank for which fewer
    than l of n fair coins fall on one side with a probability of at most (1 − level) / 2. With so
    few examples that there is none, or where the upper end is infinite, return ``None``.
    """
    n = len(distances)
    real = bdtrik((1 - LEVEL) / 2, n, 0.5)  # NaN where there is none
    if not real > 0:
        return None
    rank, ordered = math.ceil(real), np.sort(distances)
    lo, hi = float(ordered[rank - 1]), float(ordered[n - rank])
    return Interval(lo, hi) if math.isfinite(hi) else None
