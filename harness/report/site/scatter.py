"""Geometry of the scatter plot: what robustness costs in clean performance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.ranking_rules import Headline
from harness.report.site.axes import RATES, Frame, Plot, plain_label, round_values, window
from harness.report.site.labels import Mark, boxes_along, place_labels, shorten
from harness.report.tables import Row, Table
from harness.report.worst_case import Estimate

_LEAST_SPREAD = 0.005
_LONGEST = 28

Figures = tuple[Row, Estimate, Estimate]
"""A defence's row, its score and its clean figure."""


@dataclass(frozen=True)
class Scatter(Plot):
    """Headline figure against clean figure, one mark a defence.

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
    x_values = window([100 * value for value in cleans])
    y_values = round_values(RATES, most=5, from_zero=True)
    frame = Frame(width, height, left=34.0, top=28.0, right=width - 12.0, bottom=height - 40.0)
    x, y = frame.across(x_values[0], x_values[-1]), frame.up(y_values[0], y_values[-1])
    best = _front([entry for entry in figures if entry[0].rank], table.headline)
    marks = [
        Mark(
            name=shorten(row.defense, _LONGEST),
            x=x.at(100 * clean.value),
            y=y.at(100 * score.value),
            lo=y.at(100 * (score.value if score.lo is None else score.lo)),
            hi=y.at(100 * (score.value if score.hi is None else score.hi)),
            best=row.defense in best,
            open=bool(row.bound),
        )
        for row, score, clean in figures
    ]
    corners = _corners(
        sorted((mark.x, mark.y) for mark in marks if mark.best),
        frame.left,
        frame.bottom if table.headline.higher_is_better else frame.top,
    )
    return Scatter(
        frame=frame,
        x_ticks=x.ticks(x_values, plain_label),
        y_ticks=y.ticks(y_values, plain_label),
        points=place_labels(marks, frame, boxes_along(corners)),
        front="M" + "L".join(f"{x:g} {y:g}" for x, y in corners) if corners else "",
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
