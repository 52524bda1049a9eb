"""Geometry of the pictures of single classes: paired bars, heat map of moves, drop by share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.report.site.classes import Classes, ClassRow, Counts, used
from harness.report.site.figures import Tick
from harness.report.site.labels import Point, labelled, short
from harness.report.worst_case import Estimate

WIDTH = 440.0
"""Units of a plot's view box: one drawing serves a phone (328 px, text then 11 px) and a desk."""

STEPS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Where the heat map's shade changes: half a decade each. Below the first it is the faintest."""

_LETTER = 8.6
_LONGEST = 13
_LINE, _ACROSS = 16.5, 14.5


@dataclass(frozen=True)
class Bar:
    """One bar, in per cent of the width: its end, and the ends of its interval (``None``: none)."""

    end: float
    lo: float | None
    hi: float | None


def bar(estimate: Estimate | None) -> Bar | None:
    """The bar of a figure from 0 to 1; ``None`` without one.

    >>> bar(Estimate(0.5, 0.25, 0.75))
    Bar(end=50.0, lo=25.0, hi=75.0)
    """
    if estimate is None:
        return None
    lo, hi = estimate.lo, estimate.hi
    if lo is None or hi is None:
        return Bar(_percent(estimate.value), None, None)
    return Bar(_percent(estimate.value), _percent(lo), _percent(hi))


def _percent(value: float) -> float:
    return round(100 * min(1.0, max(0.0, value)), 2)


@dataclass(frozen=True)
class HeatMap:
    """Where clean predictions go under attack.

    Attributes:
        height: of the view box. left, top: corner of the fields. wide, high: of one field.
        size: fields a side. rows, columns: labels, and where their middles are.
        shades: SVG path of all fields of one shade in units of fields, faintest first.
    """

    height: float
    left: float
    top: float
    wide: float
    high: float
    size: int
    rows: tuple[Tick, ...]
    columns: tuple[Tick, ...]
    shades: tuple[str, ...]


def heat_map(classes: Classes) -> HeatMap | None:
    """The picture of ``classes.moves``, each row divided by its sum; ``None`` without moves."""
    if classes.moves is None or not classes.moves.any():
        return None
    counts, names = used(classes.moves, classes.names)
    labels = [short(name, _LONGEST) for name in names]
    left = top = round(_LETTER * max(map(len, labels)) + 26, 1)
    wide = round((WIDTH - left - 2) / len(names), 2)
    high = max(wide, _LINE)
    every = math.ceil(_ACROSS / wide)
    rows = [Tick(round(top + (i + 0.5) * high, 1), name) for i, name in enumerate(labels)]
    columns = [Tick(round(left + (j + 0.5) * wide, 1), name) for j, name in enumerate(labels)]
    return HeatMap(
        height=round(top + high * len(names) + 2, 1),
        left=left,
        top=top,
        wide=wide,
        high=high,
        size=len(names),
        rows=tuple(rows),
        columns=tuple(columns[::every]),
        shades=tuple(_shaded(counts)),
    )


def _shaded(counts: Counts) -> list[str]:
    """One path a shade; neighbours in a row that have the same shade are one rectangle."""
    sums = counts.sum(axis=1)
    paths = [""] * (len(STEPS) + 1)
    for i, row in enumerate(counts):
        shades = [shade(n / sums[i]) if n else None for n in row.tolist()]
        j = 0
        for value, run in groupby(shades):
            length = len(list(run))
            if value is not None:
                paths[value] += f"M{j} {i}h{length}v1h-{length}z"
            j += length
    return paths


def shade(share: float) -> int:
    """Shade of a share above 0.

    >>> [shade(share) for share in (0.0005, 0.001, 0.5, 1.0)]
    [0, 1, 6, 6]
    """
    return sum(share >= step for step in STEPS)


@dataclass(frozen=True)
class SharePlot:
    """IoU drop against the class's share of pixels, shares on a logarithmic axis."""

    height: float
    left: float
    top: float
    right: float
    bottom: float
    zero: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    points: tuple[Point, ...]


def share_plot(classes: Classes) -> SharePlot | None:
    """The picture; ``None`` with under three classes that have both figures and a pixel."""
    known = [
        (row, row.share, row.drop) for row in classes.rows if row.share and row.drop is not None
    ]
    if len(known) < 3:
        return None
    height, left, top, right, bottom = 340.0, 40.0, 30.0, WIDTH - 6, 290.0
    low = min(-1, math.floor(math.log10(min(share for _, share, _ in known))))
    y_ticks = _even([100 * drop for _, _, drop in known])

    def across(share: float) -> float:
        return round(left + (right - left) * (math.log10(share) - low) / -low, 1)

    def up(points: float) -> float:
        part = (points - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return round(bottom - (bottom - top) * part, 1)

    points = [_mark(row, across(share), up(100 * drop)) for row, share, drop in known]
    margins = [(0.0, 0.0, WIDTH, 16.0), (0.0, bottom + 2, WIDTH, 2 * height)]
    return SharePlot(
        height=height,
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        zero=up(0.0),
        x_ticks=tuple(Tick(across(10.0**e), f"{100 * 10.0**e:g}") for e in range(low, 1)),
        y_ticks=tuple(Tick(up(value), f"{value:g}".replace("-", "−")) for value in y_ticks),
        points=tuple(labelled(points, left, WIDTH, margins, _LETTER)),
    )


def _mark(row: ClassRow, x: float, y: float) -> Point:
    return Point(short(row.name, _LONGEST), x, y, lo=y, hi=y)


def _even(values: Sequence[float]) -> list[float]:
    """Round ticks around zero and all values.

    >>> _even([42.0, -3.0])
    [-10.0, 0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    """
    low, high = min(0.0, *values), max(0.0, *values)
    step = next((s for s in (1, 2, 5, 10, 20) if (high - low) / s <= 5), 25)
    start, end = math.floor(low / step), max(math.ceil(high / step), 1)
    return [float(step * i) for i in range(start, end + 1)]
