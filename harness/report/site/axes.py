"""Axes of the figures: scales, tick marks and plot areas, in units of the view box.

Positions are rounded, so that equal data gives equal bytes. ``axes.html.j2`` draws them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

_STEPS = (0.5, 1, 2, 5, 10, 20, 25, 50)
_TITLE_HEIGHT, _TICK_GAP = 18.0, 4.0


RATES = (0.0, 100.0)
"""Ends of an axis of rates, in per cent."""

LEAST_SPAN = 20.0
"""Least length of an axis that does not show all rates, in points: below, noise looks large."""


@dataclass(frozen=True)
class TextSize:
    """Size of a figure's text, in pixels of its view box.

    Attributes:
        letter: average width of a letter.
        centre: from a horizontal line down to the baseline of text that is centred on it.
        tick: from the plot area down to the baseline of the labels of the x axis.
        title: from the plot area down to the baseline of the title of the x axis.
    """

    letter: float
    centre: int
    tick: int
    title: int


SMALL = TextSize(letter=7.8, centre=4, tick=18, title=36)
"""13 px: for figures that are not scaled down."""

LARGE = TextSize(letter=8.6, centre=5, tick=20, title=42)
"""15 px: one drawing serves a desk and a phone, which shows it at 11 px."""


@dataclass(frozen=True)
class Tick:
    """A tick mark of an axis.

    Attributes:
        at: its position.
        text: its label.
    """

    at: float
    text: str


@dataclass(frozen=True)
class Scale:
    """A linear map from values to positions.

    Attributes:
        low: the value at ``start``.
        high: the value at ``end``.
        start: position of ``low``.
        end: position of ``high``.
    """

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the position of a value.

        >>> Scale(0.0, 100.0, 290.0, 30.0).at(25.0)
        225.0
        """
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + (self.end - self.start) * share, 1)

    def ticks(self, values: Iterable[float], label: Callable[[float], str]) -> tuple[Tick, ...]:
        """Return a labelled tick mark for each value."""
        return tuple(Tick(self.at(value), label(value)) for value in values)


@dataclass(frozen=True)
class Frame:
    """A view box and the plot area inside it.

    Attributes:
        width: width of the view box.
        height: height of the view box.
        left: left edge of the plot area.
        top: top edge of the plot area.
        right: right edge of the plot area.
        bottom: bottom edge of the plot area.
        text: size of the labels.
    """

    width: float
    height: float
    left: float
    top: float
    right: float
    bottom: float
    text: TextSize = SMALL

    def across(self, low: float, high: float) -> Scale:
        """Return the horizontal scale, ``low`` at the left edge."""
        return Scale(low, high, self.left, self.right)

    def up(self, low: float, high: float) -> Scale:
        """Return the vertical scale, ``low`` at the bottom edge."""
        return Scale(low, high, self.bottom, self.top)

    @property
    def margins(self) -> list[Box]:
        """Strips above and below the plot area that hold the titles and the labels of the x axis.

        They reach beyond the view box, so that no label lies outside it.
        """
        return [
            (0.0, -self.height, self.width, _TITLE_HEIGHT),
            (0.0, self.bottom + _TICK_GAP, self.width, 2 * self.height),
        ]


@dataclass(frozen=True)
class Plot:
    """A figure with two axes.

    Attributes:
        frame: its view box and plot area.
        x_ticks: tick marks of the horizontal axis.
        y_ticks: tick marks of the vertical axis.
    """

    frame: Frame
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def round_values(values: Sequence[float], most: int, *, from_zero: bool) -> list[float]:
    """Return round tick values that cover some percentages.

    Args:
        values: the percentages.
        most: number of steps to aim at; the result has at most ``most + 3`` values.
        from_zero: whether the axis includes 0.

    >>> round_values([3.0, 48.0], most=5, from_zero=True)
    [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    >>> round_values([42.0, -3.0], most=5, from_zero=True)
    [-10.0, 0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    """
    low, high = min(values), max(*values, 1.0)
    if from_zero:
        low = min(low, 0.0)
    span = max(high - low, 1.0)
    step = next((step for step in _STEPS if span / step <= most), _STEPS[-1])
    start, end = math.floor(low / step), math.ceil(high / step)
    # A mark on the y axis leaves no room for its label, so the axis starts one step earlier.
    start -= not from_zero and low / step - start < 0.3 and start > 0
    end = max(end, start + 1)
    return [float(i * step) for i in range(start, end + 1)]


def cover(low: float, high: float, most: int, least_step: float = 0.0) -> list[float]:
    """Return round tick values that cover figures of any size.

    Args:
        low: least figure.
        high: largest figure.
        most: number of steps to aim at; the result has at most ``most + 3`` values.
        least_step: least distance of two ticks.

    >>> cover(0.0, 470.0, 4), cover(-0.02, 2.31, 5), cover(1.0, 1.0, 2)
    ([0.0, 200.0, 400.0, 600.0], [-0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5], [0.995, 1.0, 1.005])
    """
    # A shorter axis would have labels that look the same.
    span = max(high - low, 0.01 * max(abs(low), abs(high))) or 1.0
    low, high = low - (span - high + low) / 2, high + (span - high + low) / 2
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(part * power for part in (1, 2, 5, 10) if part * power * most >= span * (1 - 1e-9))
    step = max(step, least_step)
    start, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    end = max(end, start + 1)
    return [float(f"{i * step:.10g}") for i in range(start, end + 1)]


def window(values: Sequence[float]) -> list[float]:
    """Return round tick values around some percentages: an axis that must say where it starts.

    It is at least ``LEAST_SPAN`` long and stays within 0 to 100.

    >>> window([97.0, 98.5]), window([3.0, 60.0])
    ([75.0, 80.0, 85.0, 90.0, 95.0, 100.0], [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0])
    """
    low, high = max(0.0, min(values)), min(100.0, max(values))
    missing = max(0.0, LEAST_SPAN - (high - low))
    low, high = low - missing / 2, high + missing / 2
    shift = min(0.0, 100.0 - high) + max(0.0, -low)
    found = round_values((low + shift, high + shift), most=6, from_zero=False)
    return [value for value in found if RATES[0] <= value <= RATES[1]]


def signed_label(value: float) -> str:
    """Return a tick label with a typographic minus sign."""
    return plain_label(value).replace("-", "−")


def plain_label(value: float) -> str:
    """Return a tick label as short as the number allows."""
    return f"{value:g}"


def percent_of_width(value: float) -> float:
    """Return the position of a fraction on a picture that is scaled from 0 to 1.

    >>> percent_of_width(0.421), percent_of_width(1.2)
    (42.1, 100.0)
    """
    return round(100 * min(1.0, max(0.0, value)), 2)
