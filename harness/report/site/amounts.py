"""Clean figures against the amount of training data: one chart joins the levels of a matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.config.data_entry import family_of
from harness.report.site.line_panels import Axis, Panel, Series, colour, panel
from harness.report.tables import Row, Table
from harness.report.worst_case import Estimate

Name = tuple[str, str]
"""Benchmark and matrix."""


class AmountAxis(Axis):
    """Logarithmic axis of numbers of training examples; its values are their logarithms."""

    def label(self, value: float) -> str:
        """Return the number of examples.

        >>> AXIS.label(math.log10(45_000))
        '45,000'
        """
        return f"{round(10**value):,}"


AXIS = AmountAxis("Training examples, logarithmic →", "numbers of training examples")


@dataclass(frozen=True)
class Level:
    """One amount of training data.

    Attributes:
        matrix: name of its matrix.
        examples: number of training examples.
        tables: tables of its matrix.
    """

    matrix: str
    examples: int
    tables: Sequence[Table]


@dataclass(frozen=True)
class Point:
    """One defence of one victim at one amount of training data.

    Attributes:
        matrix: name of the matrix.
        examples: number of training examples.
        victim: label of the victim.
        defense: label of the defence.
        metric: name of the figure.
        clean: the figure without an attack; ``None`` where there is none.
        possible: whether there could be a figure: the plan does not exclude all cells.
    """

    matrix: str
    examples: int
    victim: str
    defense: str
    metric: str
    clean: Estimate | None
    possible: bool


@dataclass(frozen=True)
class Amounts:
    """Charts of a family of matrices that differ in the amount of training data alone.

    Attributes:
        axis: the axis of amounts.
        budget: label of the budget whose tables have the figures.
        panels: one chart a victim.
        seeds: largest number of seeds behind a figure.
        points: every figure, and where one is missing.
    """

    axis: Axis
    budget: str
    panels: tuple[Panel, ...]
    seeds: int
    points: tuple[Point, ...]

    @property
    def interrupted(self) -> bool:
        """Whether a line has a gap."""
        return any(curve.missing for panel in self.panels for curve in panel.curves)


def joined(
    tables: Mapping[Name, Sequence[Table]], examples: Callable[[str, str], int | None]
) -> dict[Name, Amounts]:
    """Return the charts of every matrix that is a level of one.

    Args:
        tables: benchmark and matrix → its tables.
        examples: number of training examples of a benchmark's matrix; ``None`` where it is no
            level, or the number is unknown.
    """
    families: dict[Name, list[Level]] = {}
    for (benchmark, matrix), found in tables.items():
        if (count := examples(benchmark, matrix)) is not None:
            levels = families.setdefault((benchmark, family_of(matrix)), [])
            levels.append(Level(matrix, count, found))
    charts = {
        (benchmark, level.matrix): amounts(levels)
        for (benchmark, _), levels in families.items()
        for level in levels
    }
    return {name: made for name, made in charts.items() if made is not None}


def amounts(levels: Sequence[Level]) -> Amounts | None:
    """Return the charts of a family; ``None`` without a figure, or with fewer than two levels."""
    levels = sorted(levels, key=lambda level: level.examples)
    budget = _budget(levels)
    points = [
        _point(level, table, row)
        for level in levels
        for table in level.tables
        if table.budget == budget
        for row in (*table.rows, *table.unranked)
    ]
    known = [point.clean for point in points if point.clean]
    if len(levels) < 2 or not known:
        return None
    undefended = {
        row.defense
        for level in levels
        for table in level.tables
        for row in (*table.rows, *table.unranked)
        if row.is_control
    }
    # a defence has one colour in the charts of all victims
    defended = sorted({point.defense for point in points} - undefended)
    styles = dict.fromkeys(undefended, "control")
    styles |= {defense: colour(number) for number, defense in enumerate(defended)}
    values = [math.log10(level.examples) for level in levels]
    lines = {one.victim: _lines(points, one.victim, styles) for one in points if one.clean}
    return Amounts(
        axis=AXIS,
        budget=budget,
        panels=tuple(panel(victim, AXIS, found, values) for victim, found in lines.items()),
        seeds=max(one.seeds for one in known),
        points=tuple(points),
    )


def _budget(levels: Sequence[Level]) -> str:
    """Return the budget with the most figures; of several the first."""
    found: dict[str, int] = {}
    for table in (table for level in levels for table in level.tables):
        number = sum(row.clean is not None for row in (*table.rows, *table.unranked))
        found[table.budget] = found.get(table.budget, 0) + number
    return max(found, key=lambda budget: found[budget])


def _point(level: Level, table: Table, row: Row) -> Point:
    return Point(
        matrix=level.matrix,
        examples=level.examples,
        victim=table.victim,
        defense=row.defense,
        metric=table.headline.clean,
        clean=row.clean,
        possible=any(cell.status != "not_applicable" for cell in row.cells),
    )


def _lines(points: Sequence[Point], victim: str, styles: dict[str, str]) -> list[Series]:
    """Return a line for each defence of a victim, the undefended network last."""
    lines = []
    for defense, style in reversed(styles.items()):
        own = [one for one in points if (one.victim, one.defense) == (victim, defense)]
        x = [math.log10(one.examples) for one in own]
        known = [(at, one.clean) for at, one in zip(x, own, strict=True) if one.clean]
        lines.append(
            Series(
                name=defense,
                style=style,
                known=[(at, clean.value) for at, clean in known],
                missing=[at for at, o in zip(x, own, strict=True) if o.possible and not o.clean],
                bands={
                    at: (max(0.0, clean.value - clean.sd), min(1.0, clean.value + clean.sd))
                    for at, clean in known
                    if clean.sd is not None
                },
                breaks=[at for at, one in zip(x, own, strict=True) if not one.clean],
            )
        )
    return lines
