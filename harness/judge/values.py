"""Results of the judge: a number with its interval, or the reason of its absence."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.judge.statistics import LEVEL, Interval, wilson

NO_AFTER = "there is no prediction under attack"
"""Reason of an absent figure under attack where only the clean prediction exists."""

Json = dict[str, str | int | float]


@dataclass(frozen=True)
class Rate:
    """A defined figure.

    Attributes:
        value: always finite; a fraction where the metric is a rate or a difference of rates.
        lo: lower end of the interval, ``None`` where none can be estimated (one image).
        hi: upper end, ``None`` together with ``lo``.
        level: confidence level of the interval.
        method: of the interval: ``wilson``, ``newcombe`` or ``bootstrap``.
        k: successes, for rates that count examples.
        n: the denominator, for rates that count examples.
    """

    value: float
    lo: float | None
    hi: float | None
    level: float
    method: str
    k: int | None = None
    n: int | None = None

    def __post_init__(self) -> None:
        """Refuse NaN and infinity, which no file may hold."""
        if not all(math.isfinite(number) for number in (self.value, self.lo or 0, self.hi or 0)):
            raise ValueError(f"a figure must be finite, got {self}")

    def to_json(self) -> Json:
        """Return the JSON form; fields that are ``None`` are left out."""
        fields = ("value", "k", "n", "lo", "hi", "level", "method")
        return {name: getattr(self, name) for name in fields if getattr(self, name) is not None}


@dataclass(frozen=True)
class Absent:
    """An undefined figure with the reason, instead of zero or NaN."""

    reason: str

    def to_json(self) -> Json:
        """Return the JSON form."""
        return {"absent": self.reason}


Metrics = dict[str, Rate | Absent]


@dataclass(frozen=True)
class Judged:
    """Figures and outcomes of one cell.

    Attributes:
        metrics: figures by name (see ``metrics.METRICS``).
        parts: figures of classes or attributes, ``iou[class 3]``, ``accuracy[attr 0]``.
        outcomes: bool ``[N]`` each, for tasks that are right or wrong per example: ``before`` and
            ``after`` (right?), ``success`` (the attack reached its goal on an eligible example),
            ``eligible`` (counted in the denominator of the attack's success).
        nonfinite: prediction → examples (in segmentation labelled pixels) whose outputs are not
            finite; they count as wrong.
        notes: sentences that belong beside the figures, such as classes left out of a mean.
    """

    metrics: Metrics
    parts: Metrics = field(default_factory=dict)
    outcomes: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    nonfinite: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def proportion(k: int, n: int, empty: str) -> Rate | Absent:
    """Return the rate ``k / n`` with Wilson's interval, or ``Absent(empty)`` when n is 0.

    >>> proportion(3, 4, "no input").to_json()["value"]
    0.75
    >>> proportion(0, 0, "no input was right before the attack").to_json()
    {'absent': 'no input was right before the attack'}
    """
    if n == 0:
        return Absent(empty)
    return with_interval(k / n, wilson(k, n), "wilson", k=k, n=n)


def with_interval(
    value: float, interval: Interval | None, method: str, k: int | None = None, n: int | None = None
) -> Rate:
    """Return a figure with an interval at the judge's level; both ends are ``None`` without one."""
    lo, hi = interval or (None, None)
    return Rate(value=value, lo=lo, hi=hi, level=LEVEL, method=method, k=k, n=n)
