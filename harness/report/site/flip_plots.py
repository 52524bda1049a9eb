"""Geometry of the figures of flipped comparisons: histograms, dots, accuracy against fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.report.site.axes import LARGE, Frame, Plot, Tick, plain_label, window
from harness.report.site.flips import Counts, FlipRow, Flips
from harness.report.site.labels import Mark, boxes_along, place_labels, shorten
from harness.results.codec import Flip

MOST_DOTS = 400
"""Most flips of a figure that are drawn; more are thinned evenly."""

_SMALL = Frame(300, 150, left=8, top=8, right=292, bottom=120)
_FIT = Frame(440, 340, left=40.0, top=30.0, right=430.0, bottom=290.0, text=LARGE)
_LONGEST = 18
_PIECES = 8


@dataclass(frozen=True)
class Histogram(Plot):
    """Counts of comparisons by decision value, of one attack.

    Attributes:
        name: label of the attack.
        count: number of comparisons counted.
        outline: SVG path of all training comparisons, or empty.
        area: SVG path of the counts.
    """

    name: str
    count: int
    outline: str
    area: str


@dataclass(frozen=True)
class Dots(Plot):
    """Flips of one attack: row number across, decision value up.

    Attributes:
        name: label of the attack.
        count: number of flips.
        drawn: number of flips that are drawn.
        path: SVG path of the dots.
        zero: position of the decision value 0.
    """

    name: str
    count: int
    drawn: int
    path: str
    zero: float


@dataclass(frozen=True)
class Fit(Plot):
    """Accuracy against the fit to the edited training set.

    Attributes:
        lines: SVG path through the budgets of each attack.
        dots: SVG path of all budgets but the last.
        points: the marks of the last budgets.
    """

    lines: tuple[str, ...]
    dots: str
    points: tuple[Mark, ...]


def flip_histograms(rows: Sequence[FlipRow]) -> list[Histogram]:
    """Return the flips of each attack among all training comparisons, on one scale."""
    drawn = [row for row in rows if len(row.flip.rows)]
    most = max((int(row.flip.train.max()) for row in drawn), default=1)
    return [_histogram(row.attack, row.flip, row.flip.edits, row.flip.train, most) for row in drawn]


def attacked_histograms(rows: Sequence[FlipRow]) -> list[Histogram]:
    """Return the test comparisons that each attack made wrong, on one scale."""
    drawn = [row for row in rows if row.flip.attacked.any()]
    most = max((int(row.flip.attacked.max()) for row in drawn), default=1)
    return [_histogram(row.attack, row.flip, row.flip.attacked, None, most) for row in drawn]


def wrong_histogram(rows: Sequence[FlipRow]) -> Histogram | None:
    """Return the test comparisons that the clean ranker has wrong; the same for all attacks."""
    flip = next((row.flip for row in rows if row.flip.wrong.any()), None)
    if flip is None:
        return None
    return _histogram("clean ranker", flip, flip.wrong, None, int(flip.wrong.max()))


def _histogram(name: str, flip: Flip, counts: Counts, total: Counts | None, most: int) -> Histogram:
    end = float(flip.edges[-1])
    return Histogram(
        frame=_SMALL,
        x_ticks=_SMALL.across(-end, end).ticks((-end, 0.0, end), _label),
        y_ticks=(),
        name=name,
        count=int(counts.sum()),
        outline="" if total is None else _outline(total, most),
        area=_outline(counts, most),
    )


def _outline(counts: Counts, most: int) -> str:
    """Return a closed staircase over the bins."""
    x, y = _SMALL.across(0, len(counts)), _SMALL.up(0, max(most, 1))
    path = f"M{_SMALL.left:g} {_SMALL.bottom:g}"
    for i, count in enumerate(counts.tolist()):
        path += f"V{y.at(count):.1f}H{x.at(i + 1):.1f}"
    return path + f"V{_SMALL.bottom:g}Z"


def _label(value: float) -> str:
    return f"{value:.2g}".replace("-", "−")


def dot_plots(rows: Sequence[FlipRow]) -> list[Dots]:
    """Return the single flips of each attack, on one scale."""
    return [_dots(row.attack, row.flip) for row in rows if len(row.flip.rows)]


def _dots(name: str, flip: Flip) -> Dots:
    finite = np.flatnonzero(~np.isnan(flip.places))  # an overflow in the network gives no place
    drawn = finite[:: max(1, math.ceil(len(finite) / MOST_DOTS))]
    end = float(flip.edges[-1])
    x, y = _SMALL.across(0, max(1, flip.n - 1)), _SMALL.up(-1.0, 1.0)
    points = zip(flip.rows[drawn].tolist(), flip.places[drawn].tolist(), strict=True)
    return Dots(
        frame=_SMALL,
        x_ticks=(),
        # The labels stand inside the plot area, which is too small for a margin.
        y_ticks=(Tick(_SMALL.top + 10.0, _label(end)), Tick(y.at(-1.0), _label(-end))),
        name=name,
        count=len(flip.rows),
        drawn=len(drawn),
        path="".join(f"M{x.at(row):.1f} {y.at(place):.1f}h0" for row, place in points),
        zero=y.at(0.0),
    )


def fit_plot(flips: Flips) -> Fit | None:
    """Return the figure; ``None`` with under two attacks that have both figures."""
    series: dict[str, list[tuple[float, float, float]]] = {}
    for row in flips.rows:
        learned, accuracy = row.figures["poison_fit"], row.figures["accuracy"]
        if learned is not None and accuracy is not None:
            series.setdefault(row.attack, []).append((row.spent, 100 * learned, 100 * accuracy))
    if len(series) < 2:
        return None
    points = [point for points in series.values() for point in points]
    x_values = window([x for _, x, _ in points])
    y_values = window([y for _, _, y in points])
    x, y = _FIT.across(x_values[0], x_values[-1]), _FIT.up(y_values[0], y_values[-1])
    lines, dots, ends, obstacles = [], "", [], []
    for name, points in series.items():
        places = [(x.at(learned), y.at(accuracy)) for _, learned, accuracy in sorted(points)]
        lines.append("M" + "L".join(f"{px:g} {py:g}" for px, py in places))
        dots += "".join(f"M{px:g} {py:g}h0" for px, py in places[:-1])
        obstacles += boxes_along(places, _PIECES)
        px, py = places[-1]
        ends.append(Mark(shorten(name, _LONGEST), px, py, lo=py, hi=py))
    return Fit(
        frame=_FIT,
        x_ticks=x.ticks(x_values, plain_label),
        y_ticks=y.ticks(y_values, plain_label),
        lines=tuple(lines),
        dots=dots,
        points=place_labels(ends, _FIT, obstacles),
    )
