"""Mean and range over seeds of training curves, whose steps may differ."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from harness.report.site.training_plots import Band
from harness.results.training_curves import Point, thin


def mean_of_seeds(seeds: Sequence[Sequence[Point]]) -> tuple[tuple[Point, ...], tuple[Band, ...]]:
    """Return the mean of curves, and their least and largest values, over the steps of all.

    Values between two points of a seed are interpolated. Where a seed has a gap, so has the mean;
    it begins with the last seed to begin and ends with the first to end, because a mean over fewer
    seeds would jump there.

    >>> mean_of_seeds([[(0, 1.0), (10, 3.0)], [(0, 2.0), (5, 2.0), (10, 1.0)]])
    (((0, 1.5), (5, 2.0), (10, 2.0)), ((0, 1.0, 2.0), (5, 2.0, 2.0), (10, 1.0, 3.0)))
    """
    held = [points for points in seeds if any(value is not None for _, value in points)]
    first = max((points[0][0] for points in held), default=0)
    last = min((points[-1][0] for points in held), default=0)
    if len(held) < 2 or first > last:  # such as a resumed training beside a whole one
        longest: Sequence[Point] = max(held, key=lambda points: len(points), default=())
        return tuple(longest), ()
    steps = sorted({step for points in held for step, _ in points if first <= step <= last})
    columns = [_interpolate(points, steps) for points in held]
    table = {
        step: [value for value in values if value is not None]
        for step, *values in zip(steps, *columns, strict=True)
    }
    whole = {step: values for step, values in table.items() if len(values) == len(held)}
    mean = thin([(s, sum(whole[s]) / len(held) if s in whole else None) for s in steps])
    return mean, tuple(
        (step, None, None) if value is None else (step, min(whole[step]), max(whole[step]))
        for step, value in mean
    )


def _interpolate(points: Sequence[Point], steps: Sequence[int]) -> list[float | None]:
    """Return the values at steps within the curve; ``None`` at a gap and beside one."""
    at = [step for step, _ in points]
    values: list[float | None] = []
    for step in steps:
        i = bisect_left(at, step)
        (right, high), (left, low) = points[i], points[max(0, i - 1)]
        if right == step or high is None or low is None:
            values.append(high if right == step else None)
        else:
            values.append(low + (high - low) * (step - left) / (right - left))
    return values
