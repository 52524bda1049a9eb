"""Geometry of the figures of single classes: paired bars, heat map of moves, drop by share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby

from harness.report.site.axes import (
    LARGE,
    Frame,
    Plot,
    Tick,
    percent_of_width,
    plain_label,
    round_values,
    signed_label,
)
from harness.report.site.classes import Classes, ClassRow, Counts, named_moves
from harness.report.site.labels import Mark, place_labels, shorten
from harness.report.worst_case import Estimate

WIDTH = 440.0
"""Width of a view box: one drawing serves a desk and a phone (328 px wide, text then 11 px)."""

STEPS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Shares at which the heat map's shade changes, about half a decade apart."""

_LONGEST = 13
_ROW_HEIGHT, _LEAST_COLUMN_GAP = 16.5, 14.5


@dataclass(frozen=True)
class Bar:
    """One bar, in per cent of the width.

    Attributes:
        end: its end.
        lo: lower end of the interval, ``None`` without one.
        hi: upper end of the interval, ``None`` without one.
    """

    end: float
    lo: float | None
    hi: float | None


def bar(estimate: Estimate | None) -> Bar | None:
    """Return the bar of a figure from 0 to 1; ``None`` without one.

    >>> bar(Estimate(0.5, 0.25, 0.75))
    Bar(end=50.0, lo=25.0, hi=75.0)
    """
    if estimate is None:
        return None
    lo, hi = estimate.lo, estimate.hi
    if lo is None or hi is None:
        return Bar(percent_of_width(estimate.value), None, None)
    return Bar(percent_of_width(estimate.value), percent_of_width(lo), percent_of_width(hi))


@dataclass(frozen=True)
class HeatMap:
    """Clean predictions against attacked predictions, as a matrix of shaded fields.

    Attributes:
        height: height of the view box.
        left: left edge of the fields.
        top: top edge of the fields.
        field_width: width of one field.
        field_height: height of one field.
        size: number of fields a side.
        rows: labels of the rows, at their middles.
        columns: labels of the columns, at their middles.
        shades: SVG path of all fields of one shade in units of fields, faintest first.
    """

    height: float
    left: float
    top: float
    field_width: float
    field_height: float
    size: int
    rows: tuple[Tick, ...]
    columns: tuple[Tick, ...]
    shades: tuple[str, ...]


def heat_map(classes: Classes) -> HeatMap | None:
    """Return the figure of the moves, each row divided by its sum; ``None`` without moves."""
    if classes.moves is None or not classes.moves.any():
        return None
    counts, names = named_moves(classes.moves, classes.names)
    labels = [shorten(name, _LONGEST) for name in names]
    left = top = round(LARGE.letter * max(map(len, labels)) + 26, 1)
    width = round((WIDTH - left - 2) / len(names), 2)
    field_height = max(width, _ROW_HEIGHT)
    stride = math.ceil(_LEAST_COLUMN_GAP / width)
    rows = [Tick(round(top + (i + 0.5) * field_height, 1), name) for i, name in enumerate(labels)]
    columns = [Tick(round(left + (j + 0.5) * width, 1), name) for j, name in enumerate(labels)]
    return HeatMap(
        height=round(top + field_height * len(names) + 2, 1),
        left=left,
        top=top,
        field_width=width,
        field_height=field_height,
        size=len(names),
        rows=tuple(rows),
        columns=tuple(columns[::stride]),
        shades=tuple(_shade_paths(counts)),
    )


def _shade_paths(counts: Counts) -> list[str]:
    """Return one path a shade; neighbours in a row with the same shade share a rectangle."""
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
    """Return the shade of a share above 0.

    >>> [shade(share) for share in (0.0005, 0.001, 0.5, 1.0)]
    [0, 1, 6, 6]
    """
    return sum(share >= step for step in STEPS)


@dataclass(frozen=True)
class SharePlot(Plot):
    """IoU drop against the class's share of pixels, shares on a logarithmic axis.

    Attributes:
        points: one mark a class.
        zero: position of the horizontal line at a drop of 0.
    """

    points: tuple[Mark, ...]
    zero: float


def share_plot(classes: Classes) -> SharePlot | None:
    """Return the figure; ``None`` with under three classes that have both figures and a pixel."""
    known = [
        (row, row.share, row.drop) for row in classes.rows if row.share and row.drop is not None
    ]
    if len(known) < 3:
        return None
    frame = Frame(WIDTH, 340.0, left=40.0, top=30.0, right=WIDTH - 6, bottom=290.0, text=LARGE)
    lowest = min(-1, math.floor(math.log10(min(share for _, share, _ in known))))
    y_values = round_values([100 * drop for _, _, drop in known], most=5, from_zero=True)
    x, y = frame.across(lowest, 0), frame.up(y_values[0], y_values[-1])
    marks = [_mark(row, x.at(math.log10(share)), y.at(100 * drop)) for row, share, drop in known]
    return SharePlot(
        frame=frame,
        x_ticks=x.ticks(range(lowest, 1), lambda power: plain_label(100 * 10.0**power)),
        y_ticks=y.ticks(y_values, signed_label),
        points=place_labels(marks, frame),
        zero=y.at(0.0),
    )


def _mark(row: ClassRow, x: float, y: float) -> Mark:
    return Mark(shorten(row.name, _LONGEST), x, y, lo=y, hi=y)
