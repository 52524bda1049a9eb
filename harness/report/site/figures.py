"""Geometry of the site's pictures: where things stand. The templates' macros draw them.

Positions are per cent or pixels, rounded, so that equal data gives equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.report.cells import STATUSES
from harness.report.ranking_rules import Headline
from harness.report.site.labels import Box, Point, labelled
from harness.report.tables import Row, Table
from harness.report.worst_case import Estimate

_BAR = 480.0
_LEAST = 5.0
_LEAST_SPREAD = 0.005


@dataclass(frozen=True)
class Dumbbell:
    """One row's picture, in per cent of the width: interval, score, and what it is held against."""

    lo: float
    hi: float
    dot: float
    ring: float | None
    open: bool


def dumbbell(row: Row, headline: Headline) -> Dumbbell | None:
    """The picture of a row; ``None`` without a score."""
    if row.score is None:
        return None
    against = row.clean if headline.higher_is_better else row.control
    lo, hi = row.score.lo, row.score.hi
    return Dumbbell(
        lo=_percent(row.score.value if lo is None else lo),
        hi=_percent(row.score.value if hi is None else hi),
        dot=_percent(row.score.value),
        ring=_percent(against.value) if against else None,
        open=bool(row.bound),
    )


def _percent(value: float) -> float:
    return round(100 * min(1.0, max(0.0, value)), 2)


@dataclass(frozen=True)
class Segment:
    """One status of a status bar: ``x`` and ``width`` in units of its view box (480 wide)."""

    status: str
    word: str
    count: int
    x: float
    width: float


def status_bar(counts: Mapping[str, int]) -> list[Segment]:
    """Shares of statuses, results first; nothing present is thinner than can be seen.

    >>> [segment.width for segment in status_bar({"ok": 999, "timeout": 1})]
    [475.0, 5.0]
    """
    present = [(status, counts[status]) for status in STATUSES if counts.get(status)]
    total = sum(count for _, count in present)
    widths = [max(_LEAST, _BAR * count / total) for _, count in present]
    widest = widths.index(max(widths)) if widths else 0
    segments, x = [], 0.0
    for i, ((status, count), width) in enumerate(zip(present, widths, strict=True)):
        shown = width - (sum(widths) - _BAR if i == widest else 0)
        word = STATUSES[status].word
        segments.append(Segment(status, word, count, round(x, 1), round(shown, 1)))
        x += shown
    return segments


@dataclass(frozen=True)
class Tick:
    """A tick: where, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Scatter:
    """Clean against headline. ``front``: SVG path of what no defence beats in both."""

    width: float
    height: float
    left: float
    top: float
    right: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    points: tuple[Point, ...]
    front: str


def scatter(table: Table, width: float, height: float) -> Scatter | None:
    """The cost of robustness; ``None`` with under three defences, or no cost to see."""
    shown = [
        (row, row.score, row.clean)
        for row in (*table.rows, *table.unranked)
        if row.score and row.clean
    ]
    cleans = [clean.value for _, _, clean in shown]
    if len(shown) < 3 or max(cleans) - min(cleans) < _LEAST_SPREAD:
        return None
    x_ticks = ticks([100 * value for value in cleans], most=6, whole=False)
    ends = [100 * end for _, score, _ in shown for end in (0.0, score.value, score.hi or 0.0)]
    y_ticks = ticks(ends, most=5, whole=True)
    left, top, right, bottom = 34.0, 28.0, width - 12.0, height - 40.0

    margins = [(0.0, -height, width, 18.0), (0.0, bottom + 4, width, 2 * height)]

    def across(value: float) -> float:
        return round(left + (right - left) * _share(100 * value, x_ticks), 1)

    def up(value: float) -> float:
        return round(bottom - (bottom - top) * _share(100 * value, y_ticks), 1)

    best = _front([(row, score, clean) for row, score, clean in shown if row.rank], table.headline)
    points = [
        Point(
            name=row.defense,
            x=across(clean.value),
            y=up(score.value),
            lo=up(score.value if score.lo is None else score.lo),
            hi=up(score.value if score.hi is None else score.hi),
            best=row.defense in best,
            open=bool(row.bound),
        )
        for row, score, clean in shown
    ]
    corners = _corners(
        sorted((p.x, p.y) for p in points if p.best),
        left,
        bottom if table.headline.higher_is_better else top,
    )
    return Scatter(
        width,
        height,
        left,
        top,
        right,
        bottom,
        tuple(Tick(across(value / 100), f"{value:g}") for value in x_ticks),
        tuple(Tick(up(value / 100), f"{value:g}") for value in y_ticks),
        tuple(labelled(points, left, width, [*_strokes(corners), *margins])),
        "M" + "L".join(f"{x:g} {y:g}" for x, y in corners) if corners else "",
    )


def _share(value: float, scale: Sequence[float]) -> float:
    return (value - scale[0]) / (scale[-1] - scale[0])


def ticks(values: Sequence[float], most: int, *, whole: bool) -> list[float]:
    """Round tick values around some percentages, at most ``most + 2``; ``whole``: start at 0.

    >>> ticks([3.0, 48.0], most=5, whole=True)
    [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    """
    low, high = (0.0 if whole else min(values)), max(max(values), 1.0)
    span = max(high - low, 1.0)
    sizes = (0.5, 1, 2, 5, 10, 20, 25, 50)
    step = next((s for s in sizes if span / s <= most), sizes[-1])
    start, end = math.floor(low / step), math.ceil(high / step)
    # A mark on the axis has no room for its label.
    start -= not whole and low / step - start < 0.3 and start > 0
    end = max(end, start + 1)
    return [float(i * step) for i in range(start, end + 1)]


def _front(shown: Sequence[tuple[Row, Estimate, Estimate]], headline: Headline) -> set[str]:
    """Defences that no other beats in both figures."""
    pairs = [(r.defense, headline.sign * s.value, c.value) for r, s, c in shown]
    return {
        name
        for name, score, clean in pairs
        if not any(s >= score and c >= clean and (s, c) != (score, clean) for _, s, c in pairs)
    }


def _corners(
    steps: Sequence[tuple[float, float]], left: float, end: float
) -> list[tuple[float, float]]:
    """The front as a staircase, from the left edge to the axis."""
    if not steps:
        return []
    corners = [(left, steps[0][1])]
    for (x, y), (_, following) in zip(steps, [*steps[1:], (0.0, end)], strict=True):
        corners += [(x, y), (x, following)]
    return corners


def _strokes(corners: Sequence[tuple[float, float]]) -> list[Box]:
    """What the staircase covers, so that no label is struck through."""
    pairs = pairwise(corners)
    return [
        (min(x, u) - 2, min(y, v) - 2, max(x, u) + 2, max(y, v) + 2) for (x, y), (u, v) in pairs
    ]
