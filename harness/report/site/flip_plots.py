"""Geometry of the pictures of flipped comparisons: histograms, scatter, fit against accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.report.site.figures import Tick, ticks
from harness.report.site.flips import Counts, Flips, Told
from harness.report.site.labels import Point, labelled, short
from harness.results.codec import Flip, Floats

WIDTH, HEIGHT = 300.0, 150.0
"""Of a small picture's view box; a phone shows one in a row, a desk three or four."""

MOST_DOTS = 400
"""Flips of a scatter that are drawn, evenly thinned."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 8.0, WIDTH - 8.0, 8.0, 120.0
_FIT_WIDTH, _FIT_HEIGHT = 440.0, 340.0
_LONGEST = 18


@dataclass(frozen=True)
class Histogram:
    """One attack's counts over decision values.

    Attributes:
        name: the attack's. count: how many were counted.
        outline: SVG path of what they are taken from, empty where nothing is. area: of them.
        x_ticks: with the line at 0 in the middle.
    """

    name: str
    count: int
    outline: str
    area: str
    x_ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Dots:
    """One attack's flips: row number across, decision value up. ``drawn`` of ``count`` are."""

    name: str
    count: int
    drawn: int
    path: str
    zero: float
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Fit:
    """Accuracy against the fit to the edited training set; a line through an attack's budgets."""

    left: float
    top: float
    right: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[str, ...]
    dots: str
    points: tuple[Point, ...]


def flipped(told: Sequence[Told]) -> list[Histogram]:
    """Where each attack's flips lie among all training comparisons; controls that flip too."""
    shown = [one for one in told if len(one.flip.rows)]
    most = max((int(one.flip.train.max()) for one in shown), default=1)
    return [_histogram(one.attack, one.flip, one.flip.edits, one.flip.train, most) for one in shown]


def attacked(told: Sequence[Told]) -> list[Histogram]:
    """Test comparisons that were right and are wrong, by attack, on one scale."""
    shown = [one for one in told if one.flip.attacked.any()]
    most = max((int(one.flip.attacked.max()) for one in shown), default=1)
    return [_histogram(one.attack, one.flip, one.flip.attacked, None, most) for one in shown]


def wrong(told: Sequence[Told]) -> Histogram | None:
    """Test comparisons that the clean ranker has wrong; the same for all attacks."""
    flip = next((one.flip for one in told if one.flip.wrong.any()), None)
    if flip is None:
        return None
    return _histogram("clean ranker", flip, flip.wrong, None, int(flip.wrong.max()))


def _histogram(name: str, flip: Flip, counts: Counts, among: Counts | None, most: int) -> Histogram:
    outline = "" if among is None else _steps(among, most)
    end = float(flip.edges[-1])
    ends = ((_LEFT, -end), ((_LEFT + _RIGHT) / 2, 0.0), (_RIGHT, end))
    return Histogram(
        name=name,
        count=int(counts.sum()),
        outline=outline,
        area=_steps(counts, most),
        x_ticks=tuple(Tick(at, _number(value)) for at, value in ends),
    )


def _steps(counts: Counts, most: int) -> str:
    """A closed staircase over the bins."""
    wide = (_RIGHT - _LEFT) / len(counts)
    path = f"M{_LEFT:g} {_BOTTOM:g}"
    for i, count in enumerate(counts.tolist()):
        up = _BOTTOM - (_BOTTOM - _TOP) * count / max(most, 1)
        path += f"V{up:.1f}H{_LEFT + wide * (i + 1):.1f}"
    return path + f"V{_BOTTOM:g}Z"


def _number(value: float) -> str:
    return f"{value:.2g}".replace("-", "−")


def dots(told: Sequence[Told]) -> list[Dots]:
    """The flips themselves, by attack, all on one scale."""
    return [_dots(one.attack, one.flip) for one in told if len(one.flip.rows)]


def _dots(name: str, flip: Flip) -> Dots:
    finite = np.flatnonzero(~np.isnan(flip.places))  # where a network overflows there is no place
    step = max(1, math.ceil(len(finite) / MOST_DOTS))
    end, middle = float(flip.edges[-1]), (_TOP + _BOTTOM) / 2

    def across(rows: Counts) -> Floats:
        placed: Floats = _LEFT + (_RIGHT - _LEFT) * rows / max(1, flip.n - 1)
        return placed

    def up(places: Floats) -> Floats:
        placed: Floats = middle - (_BOTTOM - _TOP) / 2 * places
        return placed

    drawn = finite[::step]
    xs, ys = across(flip.rows[drawn]), up(flip.places[drawn])
    return Dots(
        name=name,
        count=len(flip.rows),
        drawn=len(xs),
        path="".join(f"M{x:.1f} {y:.1f}h0" for x, y in zip(xs, ys, strict=True)),
        zero=middle,
        y_ticks=(Tick(_TOP + 10, _number(end)), Tick(_BOTTOM, _number(-end))),
    )


def fit(found: Flips) -> Fit | None:
    """The picture; ``None`` with under two attacks that have both figures."""
    series: dict[str, list[tuple[float, float, float]]] = {}
    for one in found.told:
        learned, accuracy = one.figures["poison_fit"], one.figures["accuracy"]
        if learned is not None and accuracy is not None:
            series.setdefault(one.attack, []).append((one.spent, 100 * learned, 100 * accuracy))
    if len(series) < 2:
        return None
    every = [place for places in series.values() for place in places]
    x_scale = ticks([x for _, x, _ in every], most=6, whole=False)
    y_scale = ticks([y for _, _, y in every], most=6, whole=False)
    left, top, right, bottom = 40.0, 30.0, _FIT_WIDTH - 10, 290.0

    def place(x: float, y: float) -> tuple[float, float]:
        part = (x - x_scale[0]) / (x_scale[-1] - x_scale[0])
        rise = (y - y_scale[0]) / (y_scale[-1] - y_scale[0])
        return round(left + (right - left) * part, 1), round(bottom - (bottom - top) * rise, 1)

    lines, small, ends = [], "", []
    for name, places in series.items():
        marks = [place(x, y) for _, x, y in sorted(places)]
        lines.append("M" + "L".join(f"{x:g} {y:g}" for x, y in marks))
        small += "".join(f"M{x:g} {y:g}h0" for x, y in marks[:-1])
        x, y = marks[-1]
        ends.append(Point(short(name, _LONGEST), x, y, lo=y, hi=y))
    margins = [(0.0, -_FIT_HEIGHT, _FIT_WIDTH, 16.0), (0.0, bottom + 2, _FIT_WIDTH, 900.0)]
    return Fit(
        left, top, right, bottom,
        tuple(Tick(place(value, 0.0)[0], f"{value:g}") for value in x_scale),
        tuple(Tick(place(0.0, value)[1], f"{value:g}") for value in y_scale),
        tuple(lines),
        small,
        tuple(labelled(ends, left, _FIT_WIDTH, margins, 8.6)),
    )  # fmt: skip
