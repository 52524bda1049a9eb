"""Geometry of training curves: lines of one name over the steps, with gaps and bands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from harness.report.site.axes import SMALL, Frame, Plot, cover, signed_label
from harness.report.site.format import count, number
from harness.report.site.labels import shorten, spread
from harness.report.site.line_panels import GAP, LONGEST, WIDTH, Curve
from harness.results.training_curves import Point

_WRITTEN_OUT = 1e7
"""Labels of larger numbers are powers of ten."""

Band = tuple[int, float | None, float | None]
"""Step, least and largest value of the seeds; ``None`` where the curve has a gap."""


class Series(NamedTuple):
    """Data of one line.

    Attributes:
        name: text of its label.
        style: CSS classes, as those of ``line_panels.Series``.
        points: its points; some have a value.
        band: its band, empty without several seeds.
    """

    name: str
    style: str
    points: Sequence[Point]
    band: Sequence[Band] = ()

    @property
    def known(self) -> list[tuple[int, float]]:
        """Points with a value."""
        return [(step, value) for step, value in self.points if value is not None]


@dataclass(frozen=True)
class Chart(Plot):
    """Training curves of one name.

    Attributes:
        name: the name.
        curves: its lines, interrupted at gaps.
        description: ends of the lines in words.
        omitted: number of lines that are not drawn.
    """

    name: str
    curves: tuple[Curve, ...]
    description: str
    omitted: int = 0


def charts(name: str, batches: Sequence[Sequence[Series]], omitted: int = 0) -> tuple[Chart, ...]:
    """Return a chart for each batch of lines, all with the same axes.

    Args:
        name: name of the values.
        batches: lines, each with at least one value.
        omitted: number of lines that are in no batch.
    """
    series = [one for batch in batches for one in batch]
    values = [value for one in series for _, value in one.known]
    values += [v for one in series for _, *ends in one.band for v in ends if v is not None]
    last = float(max(1, *(one.known[-1][0] for one in series)))
    y_values = cover(min(values), max(values), 5)
    return tuple(_chart(name, batch, last, y_values, omitted) for batch in batches)


def _chart(
    name: str,
    series: Sequence[Series],
    last: float,
    y_values: Sequence[float],
    omitted: int,
) -> Chart:
    names = [shorten(one.name, LONGEST) for one in series]
    height = max(220.0, GAP * len(series) + 66)
    # The labels of the axis stand to the left of the plot area, the names to its right.
    left = 12 + SMALL.letter * max(len(_label(value)) for value in y_values)
    right = WIDTH - 16 - SMALL.letter * max(map(len, names))
    frame = Frame(WIDTH, height, round(left, 1), 26.0, round(right, 1), bottom=height - 40.0)
    x, y = frame.across(0.0, last), frame.up(y_values[0], y_values[-1])
    ends = [(x.at(step), y.at(value)) for step, value in (one.known[-1] for one in series)]
    label_ys = spread([end for _, end in ends], GAP, frame.top, frame.bottom)
    lines = []
    for one, label, (end_x, end_y), label_y in zip(series, names, ends, label_ys, strict=True):
        pieces = [[(x.at(s), y.at(v)) for s, v in piece] for piece in _pieces(one.points)]
        around = [
            [(x.at(s), y.at(high)) for s, _, high in piece]
            + [(x.at(s), y.at(low)) for s, low, _ in reversed(piece)]
            for piece in _band_pieces(one.band)
        ]
        lines.append(
            Curve(
                name=label,
                style=one.style,
                path="".join(_path(piece) for piece in pieces if len(piece) > 1),
                dots="".join(f"M{p[0][0]:g} {p[0][1]:g}h0" for p in pieces if len(p) == 1),
                band="".join(_path(piece) + "z" for piece in around if len(piece) > 2),
                x=end_x,
                y=end_y,
                label_y=label_y,
            )
        )
    return Chart(
        frame=frame,
        x_ticks=x.ticks(
            [one for one in cover(0.0, last, 3, least_step=1.0) if one <= last], _label
        ),
        y_ticks=y.ticks(y_values, _label),
        name=name,
        curves=tuple(lines),
        description="; ".join(map(_description, series)),
        omitted=omitted,
    )


def _pieces(points: Sequence[Point]) -> Iterator[list[tuple[int, float]]]:
    """Yield the parts of a line between its gaps."""
    for gap, piece in groupby(points, key=lambda point: point[1] is None):
        if not gap:
            yield [(step, value) for step, value in piece if value is not None]


def _band_pieces(band: Sequence[Band]) -> Iterator[list[tuple[int, float, float]]]:
    for gap, piece in groupby(band, key=lambda point: point[1] is None):
        if not gap:
            yield [(s, low, high) for s, low, high in piece if low is not None and high is not None]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def _label(value: float) -> str:
    return number(value) if abs(value) < _WRITTEN_OUT else signed_label(value)


def _description(one: Series) -> str:
    (first, start), (last, end) = one.known[0], one.known[-1]
    return f"{one.name} {number(start)} at step {count(first)}, {number(end)} at {count(last)}"
