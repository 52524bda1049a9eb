"""Replications of a cell: records that asked the same question, and whether they agree.

A cell's environment and commit are no part of the question. Records of other modules, parameters,
examples or another method of judging are of another one: they are stale, not replications.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from harness.judge.traits import METRICS
from harness.results.records import Record, outcome_of

TOLERANCE = 0.015
"""Largest difference of a figure that counts as reproduced: one and a half points.

On one machine, results in containers and outside are equal: 202 of 202 cells of quick. With another
instruction set, SSE in place of AVX, 49 of 54 cells of its first matrix differ (500 examples, all
trained anew), by up to 1.2 points; with another seed, 300 figures of quick by 1.8 in the median.
"""
UNBOUNDED = frozenset(
    {"flip_margin", "attempts_all_classes", "median_distance", "average_certified_radius"}
)
"""Metrics without a scale (counts, distances, a network's own unit): their tolerance is a share of
them."""
_SLACK = 1e-9  # 0.515 - 0.5 is above 0.015 in floating point

PLACES = {"docker": "in containers", "local": "outside"}
"""Executor → where a record was made, in words."""


@dataclass(frozen=True)
class Figure:
    """One metric of two records; a value is ``None`` where the metric is undefined or missing."""

    name: str
    first: float | None
    second: float | None

    @property
    def relative(self) -> bool:
        """Whether the difference is a share of the larger figure."""
        return self.name in UNBOUNDED

    @property
    def apart(self) -> float:
        """Difference; infinite where only one of the two is defined."""
        if self.first is None or self.second is None:
            return 0.0 if self.first is self.second else float("inf")
        scale = max(abs(self.first), abs(self.second)) if self.relative else 1.0
        return abs(self.second - self.first) / (scale or 1.0)

    @property
    def within(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.apart <= TOLERANCE + _SLACK

    def __str__(self) -> str:
        trait = METRICS.get(self.name)
        percent = trait is not None and trait.unit in ("%", "points")
        texts = [_text(value, percent=percent) for value in (self.first, self.second)]
        return f"{self.name.replace('_', ' ')} {' and '.join(texts)}"


def _text(value: float | None, *, percent: bool) -> str:
    if value is None:
        return "undefined"
    return f"{100 * value:.2f} %" if percent else f"{value:.4f}"


@dataclass(frozen=True)
class Agreement:
    """How far two records of one cell agree.

    Attributes:
        equal: whether their outcomes are equal, each example's included.
        statuses: of both.
        figures: every metric of either, the furthest apart first; empty where they are equal.
        contradictory: whether one outcome digest stands beside different figures: a record that was
            read without its packed arrays claims both.
    """

    equal: bool
    statuses: tuple[str, str]
    figures: tuple[Figure, ...]
    contradictory: bool = False

    @property
    def apart(self) -> float:
        """Largest difference of a figure; 0 where they are equal."""
        return self.figures[0].apart if self.figures else 0.0

    @property
    def within(self) -> bool:
        """Whether they agree within the tolerance."""
        first, second = self.statuses
        near = first == second and not self.contradictory
        return self.equal or (near and all(one.within for one in self.figures))

    def __str__(self) -> str:
        first, second = self.statuses
        if self.equal:
            return "equal"
        if first != second:
            return f"{first} and {second}"
        if self.contradictory:
            return "one outcome digest beside different figures"
        if not self.figures or not self.figures[0].apart:
            return "equal figures of other examples"
        beyond = "within" if self.within else "further apart than"
        unit = "%" if self.figures[0].relative else "points"
        return f"{self.figures[0]}, {beyond} {100 * TOLERANCE:.1f} {unit}"


def compare(first: Record, second: Record) -> Agreement:
    """Compare the outcomes of two records of one cell."""
    statuses = (str(first.status), str(second.status))
    same = outcome_of(first) == outcome_of(second)
    # of a page's records, the digest and the figures are claims of their own
    claims = [(one.status, one.metrics, one.parts) for one in (first, second)]
    if same and claims[0] == claims[1]:
        return Agreement(equal=True, statuses=statuses, figures=())
    names = sorted(first.metrics.keys() | second.metrics.keys())
    figures = [Figure(name, first.metric(name), second.metric(name)) for name in names]
    figures.sort(key=lambda one: -one.apart)
    return Agreement(equal=False, statuses=statuses, figures=tuple(figures), contradictory=same)


@dataclass(frozen=True)
class Replications:
    """A record, and the others of the same question.

    Attributes:
        record: the record that counts.
        others: the others; never empty.
        current: those of the others that were made by the same harness as the record.
    """

    record: Record
    others: tuple[Record, ...]
    current: tuple[Record, ...] = ()

    @property
    def unexplained(self) -> Replications | None:
        """The current ones, where they differ by more than the tolerance, else ``None``."""
        found = Replications(self.record, self.current, self.current) if self.current else None
        return None if found is None or found.worst[1].within else found

    @property
    def worst(self) -> tuple[Record, Agreement]:
        """Replication that agrees least, and how far."""
        found = [(other, compare(self.record, other)) for other in self.others]
        return max(found, key=lambda one: (not one[1].within, not one[1].equal, one[1].apart))

    @property
    def made(self) -> str:
        """How often and where: ``twice, in containers and outside``."""
        every = (self.record, *self.others)
        counts = Counter(PLACES[record.environment.executor] for record in every)
        if len(counts) == 1:
            where = f"{'both times' if len(every) == 2 else 'always'} {next(iter(counts))}"
        else:
            where = " and ".join(
                place if len(every) == 2 else f"{_times(count)} {place}"
                for place, count in sorted(counts.items())
            )
        parts = [_times(len(every)), where]
        for kind, found in (
            ("on {} devices", {record.environment.device for record in every}),
            ("on {} machines", {record.run.machine for record in every}),
            ("at {} commits", {record.run.commit for record in every}),
        ):
            parts += [kind.format(len(found))] if len(found) > 1 else []
        return ", ".join(parts)

    def __str__(self) -> str:
        return f"made {self.made}: {self.worst[1]}"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def replications(
    record: Record | None, found: Iterable[Record], today: Container[str] = ()
) -> Replications | None:
    """Return the replications of a record with a result, or ``None`` where there are none.

    Args:
        record: the record that counts for its cell.
        found: records of the same cell id, which may hold the record itself.
        today: keys of the present plans, for every executor. Records of these keys were made by
            the same harness, so that nothing but the environment explains a difference.
    """
    if record is None or record.status != "ok":
        return None
    others: list[Record] = []
    for other in found:
        if _same_question(record, other) and not _computed_already(other, [record, *others]):
            others.append(other)
    keys = {other.key for other in others if record.key in today and other.key in today}
    current = tuple(other for other in others if other.key in keys or other.key == record.key)
    return Replications(record, tuple(others), current) if others else None


def _same_question(record: Record, other: Record) -> bool:
    """Return whether two records are results of one cell with the same code on the same examples.

    A failure is no result: it was retried, or its limits were another machine's.
    """
    return (
        other.status == "ok"
        and other.id == record.id
        and (other.cell, other.modules, other.params, other.members, other.method)
        == (record.cell, record.modules, record.params, record.members, record.method)
        and _examples(other) == _examples(record)
    )


def _examples(record: Record) -> object:
    """Return what tells on which examples a record was judged.

    The key of the choice also holds the harness's code, which another commit may change.
    """
    return (record.outcomes or {}).get("ids") or record.stages.get("slice")


def _computed_already(record: Record, others: Sequence[Record]) -> bool:
    """Return whether a record was judged again from the stages of another one, or is a copy.

    Stages that ran twice do not take the same time to the microsecond.
    """
    return any(
        other.key == record.key
        and other.run.seconds == record.run.seconds
        and outcome_of(other) == outcome_of(record)
        for other in others
    )
