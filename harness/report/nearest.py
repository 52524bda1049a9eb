"""Nearest wrong inputs that all attacks on a defence together found."""

from __future__ import annotations

import math
import statistics as plain

import numpy as np

from harness.judge import statistics
from harness.judge.nearest import METHOD, median, median_interval
from harness.report.worst_case import Estimate, Floats, Runs


def nearest(runs: Runs) -> Estimate | None:
    """Return the median distance of the nearest wrong inputs that any attack found.

    ``None`` where it is infinite in a seed, or where no record has distances.
    """
    shortest = nearest_distances(runs)
    medians = [median(one) for one in shortest]
    if not medians or not all(map(math.isfinite, medians)):
        return None
    ends = [one for one in map(median_interval, shortest) if one is not None]
    whole = len(ends) == len(medians)
    return Estimate(
        plain.fmean(medians),
        plain.fmean(one.lo for one in ends) if whole else None,
        plain.fmean(one.hi for one in ends) if whole else None,
        statistics.LEVEL,
        METHOD,
        examples=len(shortest[0]),
        seeds=len(medians),
        sd=plain.stdev(medians) if len(medians) > 1 else None,
    )


def nearest_distances(runs: Runs) -> list[Floats]:
    """Return, of each seed, each example's least distance over all attacks, ``[N]``."""
    found: dict[int, list[Floats]] = {}
    for outcomes in runs.values():
        for seed, outcome in outcomes.items():
            if outcome.distances is not None:
                found.setdefault(seed, []).append(outcome.distances)
    return [np.min(found[seed], axis=0) for seed in sorted(found)]
