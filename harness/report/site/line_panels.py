"""Geometry of line charts: panels with a line for each of several rates along one axis."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from harness.report.site.axes import (
    RATES,
    SMALL,
    Frame,
    Plot,
    Scale,
    Tick,
    plain_label,
    round_values,
)
from harness.report.site.labels import shorten, spread

WIDTH = 344.0
COLOURS = 6
"""Number of line colours; further lines repeat them dashed."""

GAP = 14.5
"""Least distance of two names beside the ends of lines."""
LONGEST = 16
"""Most letters of such a name."""
_LEAST_TICK_GAP = 24.0

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis(ABC):
    """Horizontal axis of line charts.

    Attributes:
        title: title of the axis.
        unit: the unit in words.
    """

    title: str
    unit: str

    @abstractmethod
    def label(self, value: float) -> str:
        """Return the label of a value."""


@dataclass(frozen=True)
class Series:
    """Data of a line.

    Attributes:
        name: its name.
        style: CSS classes: ``all``, ``control`` or ``k0`` to ``k5``, perhaps with ``dash``.
        known: values on the axis with their rates, in order.
        missing: values on the axis without a rate where there could be one.
        bands: value on the axis → lower and upper end of a band, of the rates that have one.
        breaks: values on the axis at which the line is interrupted.
    """

    name: str
    style: str
    known: Sequence[Point]
    missing: Sequence[float]
    bands: Mapping[float, Point] = field(default_factory=dict)
    breaks: Sequence[float] = ()

    @property
    def runs(self) -> list[list[Point]]:
        """The rates between two interruptions."""
        found = [[point] for point in self.known[:1]]
        for before, point in pairwise(self.known):
            if any(before[0] < x < point[0] for x in self.breaks):
                found.append([])
            found[-1].append(point)
        return found


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        name: text of its label.
        style: CSS classes, as in ``Series``.
        path: SVG path through the values with a result.
        dots: SVG path of points: in a panel of all, in a chart of trainings of those without a
            neighbour, which the path does not show.
        band: SVG path of the band around them; empty without one.
        x: position of the last point.
        y: position of the last point.
        label_y: position of the label.
        missing: positions of the values without a result where there could be one.
    """

    name: str
    style: str
    path: str
    dots: str
    band: str
    x: float
    y: float
    label_y: float
    missing: tuple[float, ...] = ()


@dataclass(frozen=True)
class Panel(Plot):
    """One chart.

    Attributes:
        name: what its lines have in common: the label of a defence or a victim.
        curves: its lines.
        description: its figures in words.
        missing: names of the lines that could have results and have none.
    """

    name: str
    curves: tuple[Curve, ...]
    description: str
    missing: tuple[str, ...]


def colour(number: int) -> str:
    """Return the style of a line by its number; dashed where the colours repeat.

    >>> colour(1), colour(7)
    ('k1', 'k1 dash')
    """
    return f"k{number % COLOURS}" + (" dash" if number >= COLOURS else "")


def panel(name: str, axis: Axis, series: Sequence[Series], values: Sequence[float]) -> Panel:
    """Return a chart of some lines, of which at least one has a rate.

    Args:
        name: what the lines have in common.
        axis: the horizontal axis.
        series: the lines; those without a rate are named only.
        values: the values on the axis, at least two, in order.
    """
    lines = [line for line in series if line.known]
    names = [shorten(line.name, LONGEST) for line in lines]
    height = max(250.0, GAP * len(lines) + 66)
    # One y axis for all panels and pages, so that they can be compared and nothing looks large.
    y_values = round_values(RATES, most=5, from_zero=True)
    # The names stand to the right of the plot area, each beside the end of its line.
    right = round(WIDTH - 16 - SMALL.letter * max(map(len, names)), 1)
    frame = Frame(WIDTH, height, left=34.0, top=26.0, right=right, bottom=height - 40.0)
    x, y = frame.across(values[0], values[-1]), frame.up(y_values[0], y_values[-1])
    ends = [y.at(100 * line.known[-1][1]) for line in lines]
    label_ys = spread(ends, GAP, frame.top, frame.bottom)
    return Panel(
        frame=frame,
        x_ticks=_thin(x.ticks(values, axis.label)),
        y_ticks=y.ticks(y_values, plain_label),
        name=name,
        curves=tuple(
            _curve(line, short, x, y, label_y)
            for line, short, label_y in zip(lines, names, label_ys, strict=True)
        ),
        description="; ".join(_description(line, axis) for line in lines),
        missing=tuple(line.name for line in series if line.missing and not line.known),
    )


def _curve(line: Series, name: str, x: Scale, y: Scale, label_y: float) -> Curve:
    def path(points: Sequence[Point]) -> str:
        return "L".join(f"{x.at(value):g} {y.at(100 * rate):g}" for value, rate in points)

    bands = []
    for run in line.runs:
        ends = [(value, line.bands[value]) for value, _ in run if value in line.bands]
        low, high = ([(value, end[i]) for value, end in ends] for i in (0, 1))
        bands.append(f"M{path(low)}L{path(high[::-1])}z" if len(ends) > 1 else "")
    value, rate = line.known[-1]
    return Curve(
        name=name,
        style=line.style,
        path="".join(f"M{path(run)}" for run in line.runs),
        dots="".join(f"M{path([point])}h0" for point in line.known),
        band="".join(bands),
        x=x.at(value),
        y=y.at(100 * rate),
        label_y=label_y,
        missing=tuple(x.at(value) for value in line.missing),
    )


def _thin(ticks: Sequence[Tick]) -> tuple[Tick, ...]:
    """Return ticks whose labels do not touch; the largest value always keeps its own."""
    thinned: list[Tick] = []
    for tick in reversed(ticks):
        letters = len(tick.text) + (len(thinned[-1].text) if thinned else 0)
        gap = max(_LEAST_TICK_GAP, SMALL.letter * letters / 2)
        if not thinned or thinned[-1].at - tick.at >= gap:
            thinned.append(tick)
    return tuple(reversed(thinned))


def _description(line: Series, axis: Axis) -> str:
    values = ", ".join(f"{100 * value:.1f} at {axis.label(x)}" for x, value in line.known)
    return f"{line.name} {values}"
