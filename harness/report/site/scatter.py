"""Geometry of the scatter plots: what robustness costs, and whether training losses mislead."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.report.ranking_rules import Headline
from harness.report.site.axes import (
    RATES,
    Frame,
    Plot,
    Tick,
    plain_label,
    round_values,
    signed_label,
    window,
)
from harness.report.site.labels import Mark, boxes_along, place_labels, shorten
from harness.report.tables import Row, Table
from harness.report.worst_case import Estimate

_LEAST_SPREAD = 0.005
_LONGEST = 28
_ALONG = 0.5
"""Cosine below which the training loss leads elsewhere than the margin."""

_COSINES = (0.0, 0.25, 0.5, 0.75, 1.0)

Figures = tuple[Row, Estimate, Estimate]
"""A defence's row, its score and its clean figure."""


@dataclass(frozen=True)
class Scatter(Plot):
    """Headline figure against another figure, one mark a defence.

    Attributes:
        points: the marks.
        front: SVG path of the Pareto front, empty without ranked defences.
    """

    points: tuple[Mark, ...]
    front: str


def scatter(table: Table, width: float, height: float) -> Scatter | None:
    """Return the scatter plot of a table.

    ``None`` with under three defences, or where all clean figures are about the same.
    """
    figures = [
        (row, row.score, row.clean)
        for row in (*table.rows, *table.unranked)
        if row.score and row.clean
    ]
    cleans = [clean.value for _, _, clean in figures]
    if len(figures) < 3 or max(cleans) - min(cleans) < _LEAST_SPREAD:
        return None
    frame = _frame(width, height)
    values = window([100 * value for value in cleans])
    x = frame.across(values[0], values[-1])
    best = _front([entry for entry in figures if entry[0].rank], table.headline)
    marks = [_mark(row, x.at(100 * c.value), score, frame, best) for row, score, c in figures]
    corners = _corners(
        sorted((mark.x, mark.y) for mark in marks if mark.best),
        frame.left,
        frame.bottom if table.headline.higher_is_better else frame.top,
    )
    front = "M" + "L".join(f"{x:g} {y:g}" for x, y in corners) if corners else ""
    points = place_labels(marks, frame, boxes_along(corners))
    return Scatter(frame, x.ticks(values, plain_label), _rates(frame), points, front)


def loss_mismatch(table: Table, width: float, height: float) -> Scatter | None:
    """Return headline figures against the cosine of training loss and margin.

    ``None`` where every training loss leads along the margin, or where none was probed.
    """
    figures = [
        (row, row.score, row.loss_cosine)
        for row in (*table.rows, *table.unranked)
        if row.score and row.loss_cosine is not None
    ]
    if all(cosine >= _ALONG for _, _, cosine in figures):
        return None
    frame = _frame(width, height)
    values = (-1.0, -0.5, 0.0, 0.5, 1.0) if min(c for *_, c in figures) < 0 else _COSINES
    x = frame.across(values[0], values[-1])
    marks = [_mark(row, x.at(cosine), score, frame) for row, score, cosine in figures]
    return Scatter(
        frame, x.ticks(values, signed_label), _rates(frame), place_labels(marks, frame), front=""
    )


def _frame(width: float, height: float) -> Frame:
    return Frame(width, height, left=34.0, top=28.0, right=width - 12.0, bottom=height - 40.0)


def _rates(frame: Frame) -> tuple[Tick, ...]:
    """Return the tick marks of the headline figure."""
    return frame.up(*RATES).ticks(round_values(RATES, most=5, from_zero=True), plain_label)


def _mark(row: Row, x: float, score: Estimate, frame: Frame, best: Collection[str] = ()) -> Mark:
    """Return the mark of a defence at a horizontal position."""
    y = frame.up(*RATES)
    return Mark(
        name=shorten(row.defense, _LONGEST),
        x=x,
        y=y.at(100 * score.value),
        lo=y.at(100 * (score.value if score.lo is None else score.lo)),
        hi=y.at(100 * (score.value if score.hi is None else score.hi)),
        best=row.defense in best,
        open=bool(row.bound),
    )


def _front(figures: Sequence[Figures], headline: Headline) -> set[str]:
    """Return the Pareto front: the defences that no other beats in both figures."""
    pairs = [(r.defense, headline.sign * s.value, c.value) for r, s, c in figures]
    return {
        name
        for name, score, clean in pairs
        if not any(s >= score and c >= clean and (s, c) != (score, clean) for _, s, c in pairs)
    }


def _corners(
    steps: Sequence[tuple[float, float]], left: float, end: float
) -> list[tuple[float, float]]:
    """Return the corners of the front, drawn as a staircase from the left edge to the axis."""
    if not steps:
        return []
    corners = [(left, steps[0][1])]
    for (x, y), (_, following) in zip(steps, [*steps[1:], (0.0, end)], strict=True):
        corners += [(x, y), (x, following)]
    return corners
