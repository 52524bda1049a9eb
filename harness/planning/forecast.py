"""Forecast of a run: its time and disk as ranges, and as text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

UNITS = ((1.0, "s"), (60.0, "min"), (3600.0, "h"))
ENOUGH = 120
"""Number of a unit from which the next larger unit is used."""


class Range(NamedTuple):
    """Range of an unknown number; both ends may be equal."""

    lo: float
    hi: float

    @classmethod
    def exactly(cls, value: float) -> Range:
        """Return a range of one number."""
        return cls(value, value)

    @classmethod
    def sum(cls, ranges: Iterable[Range]) -> Range:
        """Return the range of a sum."""
        lo = hi = 0.0
        for one in ranges:
            lo, hi = lo + one.lo, hi + one.hi
        return cls(lo, hi)

    @classmethod
    def hull(cls, ranges: Iterable[Range]) -> Range:
        """Return the narrowest range that holds all of these."""
        found = list(ranges)
        return cls(min(one.lo for one in found), max(one.hi for one in found))

    def times(self, factor: float) -> Range:
        """Return the range of the product."""
        return Range(self.lo * factor, self.hi * factor)

    @property
    def spread(self) -> float:
        """Ratio of the upper end to the lower."""
        return self.hi / self.lo


@dataclass(frozen=True)
class Forecast:
    """Forecast of some stages.

    Attributes:
        stages: number of the stages.
        unknown: number of those about which nothing is known; the ranges leave them out.
        seconds: time of all others, one after another.
        size: bytes of their artefacts.
    """

    stages: int
    unknown: int
    seconds: Range
    size: Range

    @classmethod
    def total(cls, parts: Iterable[Forecast]) -> Forecast:
        """Return the forecast of all stages together."""
        found = list(parts)
        return cls(
            sum(part.stages for part in found),
            sum(part.unknown for part in found),
            Range.sum(part.seconds for part in found),
            Range.sum(part.size for part in found),
        )

    def brief(self) -> str:
        """Return the time for a table.

        >>> Forecast(3, 1, Range(40, 400), Range(0, 0)).brief()
        '40 s–7 min + 1 unknown'
        """
        if not self.stages:
            return ""
        if self.unknown == self.stages:
            return "unknown"
        return format_duration(self.seconds) + (
            f" + {self.unknown} unknown" if self.unknown else ""
        )

    def sentence(self, cores: int) -> str:
        """Return the time on some cores, and the disk, as a sentence."""
        if not self.stages:
            return "No stage to run."
        count = f"{self.stages} {'stage' if self.stages == 1 else 'stages'} to run"
        if self.unknown == self.stages:
            return f"Expected: unknown; {count}, and nothing like it has run here."
        word = "core" if cores == 1 else "cores"
        time = format_duration(self.seconds.times(1 / cores))
        text = f"{time} on {cores} {word}, {format_size(self.size)}"
        if not self.unknown:
            return f"Expected: {text}."
        beside = f"{self.unknown} of {count} are unknown: nothing like them has run here"
        return f"Expected: {text}; beside that, {beside}."


def format_duration(seconds: Range) -> str:
    """Return a time in a unit that suits it.

    >>> [format_duration(Range(*ends)) for ends in ((0, 0.4), (40, 41), (40, 400), (9000, 9000))]
    ['under 1 s', '40–41 s', '40 s–7 min', '2.5 h']
    """
    return "under 1 s" if seconds.hi < 1 else format_range(*map(_in_unit, seconds))


def format_size(size: Range) -> str:
    """Return bytes in MB or GB.

    >>> format_size(Range(10, 2e6)), format_size(Range(10, 20)), format_size(Range(2e9, 3e10))
    ('0–2 MB', 'under 1 MB', '2–30 GB')
    """
    if size.hi < 1e6:
        return "under 1 MB"
    scale, unit = (1e9, "GB") if size.hi >= 1e10 else (1e6, "MB")
    return format_range(*((f"{end / scale:.0f}", unit) for end in size))


def _in_unit(seconds: float) -> tuple[str, str]:
    scale, unit = next((u for u in UNITS if seconds < ENOUGH * u[0]), UNITS[-1])
    value = seconds / scale
    return f"{value:.1f}" if unit == "h" and value < 10 else f"{value:.0f}", unit


def format_range(lo: tuple[str, str], hi: tuple[str, str]) -> str:
    """Return two figures with units as one text; equal ones once.

    >>> format_range(("1", "s"), ("2", "s")), format_range(("9", "s"), ("3", "min"))
    ('1–2 s', '9 s–3 min')
    """
    if lo == hi:
        return " ".join(hi)
    return f"{lo[0]}–{' '.join(hi)}" if lo[1] == hi[1] else f"{' '.join(lo)}–{' '.join(hi)}"
