"""Geometry of the small pictures in tables: dumbbells and status bars.

Positions are rounded, so that equal data gives equal bytes. ``macros.html.j2`` draws them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.report.cells import STATUSES
from harness.report.ranking_rules import Headline
from harness.report.site.axes import percent_of_width
from harness.report.tables import Row

_BAR_WIDTH = 480.0
_LEAST_WIDTH = 5.0


@dataclass(frozen=True)
class Dumbbell:
    """Picture of one row, in per cent of the width.

    Attributes:
        lo: lower end of the interval.
        hi: upper end of the interval.
        dot: the score.
        ring: the clean figure or the control, ``None`` without one.
        open: whether the score is only a bound.
    """

    lo: float
    hi: float
    dot: float
    ring: float | None
    open: bool


def dumbbell(row: Row, headline: Headline) -> Dumbbell | None:
    """Return the picture of a row; ``None`` without a score."""
    if row.score is None:
        return None
    reference = row.clean if headline.higher_is_better else row.control
    lo, hi = row.score.lo, row.score.hi
    return Dumbbell(
        lo=percent_of_width(row.score.value if lo is None else lo),
        hi=percent_of_width(row.score.value if hi is None else hi),
        dot=percent_of_width(row.score.value),
        ring=percent_of_width(reference.value) if reference else None,
        open=bool(row.bound),
    )


@dataclass(frozen=True)
class Segment:
    """Segment of a status bar, in units of its view box (480 wide).

    Attributes:
        status: key of the status.
        word: the status as pages print it.
        count: number of cells with it.
        x: left edge.
        width: width.
    """

    status: str
    word: str
    count: int
    x: float
    width: float


def status_bar(counts: Mapping[str, int]) -> list[Segment]:
    """Return a segment for each status with cells; rare ones are widened until they are visible.

    >>> [segment.width for segment in status_bar({"ok": 999, "timeout": 1})]
    [475.0, 5.0]
    """
    present = [(status, counts[status]) for status in STATUSES if counts.get(status)]
    total = sum(count for _, count in present)
    widths = [max(_LEAST_WIDTH, _BAR_WIDTH * count / total) for _, count in present]
    if widths:
        # The widest segment gives what the rare ones gained, so that the bar keeps its width.
        widths[widths.index(max(widths))] -= sum(widths) - _BAR_WIDTH
    segments, x = [], 0.0
    for (status, count), width in zip(present, widths, strict=True):
        word = STATUSES[status].word
        segments.append(Segment(status, word, count, round(x, 1), round(width, 1)))
        x += width
    return segments
