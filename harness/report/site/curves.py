"""Geometry of the curves: each defence's headline figure against the attack's budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.report.site.line_panels import Axis, Panel, Series, colour, panel
from harness.report.tables import AttackRow, Row, Table, TableCell

TOGETHER = {
    "joint": "all attacks",
    "greedy": "all attacks",
    "images": "all attacks",
    "single": "strongest attack",
}
"""Rule of the worst case → name of its line: under ``single`` the attacker picks one attack."""

MOST = 12
"""Most attacks with a line, the strongest at the largest budget; more lines cannot be followed."""

MOST_PANELS = 6
"""Most charts of single attacks."""


@dataclass(frozen=True)
class BudgetAxis(Axis):
    """Field in which the budgets of a figure differ, with its texts.

    Attributes:
        field: name of the budget's field.
        factor: multiplies its values on the page.
        zero: what 0 is called.
    """

    field: str
    factor: float
    zero: str

    def label(self, value: float) -> str:
        """Return a budget in the axis's unit.

        >>> BUDGET_AXES[0].label(8 / 255), BUDGET_AXES[0].label(0.1), BUDGET_AXES[1].label(0.35)
        ('8', '25.5', '35')
        """
        return f"{self.factor * value:.3g}"

    def value(self, table: Table) -> float:
        """Return the budget of a table on this axis."""
        return float(table.limits[self.field])


BUDGET_AXES = (
    BudgetAxis("ε × 255 →", "L∞ radii in 255ths", "eps", 255.0, "ε = 0"),
    BudgetAxis("edited training examples, % →", "per cent of edits", "edits", 100.0, "0 %"),
)

L2_AXIS = BudgetAxis("ε in L2 →", "L2 radii", "eps", 1.0, "ε = 0")

UNITS_AXIS = BudgetAxis(
    "ε, in the unit of each channel →", "L∞ radii in each channel's unit", "eps", 1.0, "ε = 0"
)
"""Axis of radii that differ between channels: the budget's label has their units."""


@dataclass(frozen=True)
class Curves:
    """Panels of one victim under budgets that differ along one axis alone.

    Attributes:
        j: index of the victim on the page.
        victim: label of the victim.
        axis: the axis along which the budgets differ.
        budgets: labels of the budgets.
        omitted: number of weaker attacks without a line.
        panels: one panel a defence.
        by_attack: the same lines, one panel an attack, for the first ``MOST_PANELS``; none of
            controls, and none with a single defence.
    """

    j: int
    victim: str
    axis: BudgetAxis
    budgets: tuple[str, ...]
    omitted: int
    panels: tuple[Panel, ...]
    by_attack: tuple[Panel, ...]


def curves(tables: Sequence[Table]) -> list[Curves]:
    """Return the curves of a matrix; none where no two budgets lie on one axis."""
    victims = list(dict.fromkeys(table.victim for table in tables))
    comparable: dict[tuple[str, BudgetAxis, str], list[Table]] = {}
    for table in tables:
        axis = _axis(table)
        if axis:
            rest = repr(sorted((k, v) for k, v in table.limits.items() if k != axis.field))
            comparable.setdefault((table.victim, axis, rest), []).append(table)
    return [
        _curves(victims.index(victim), axis, sorted(same, key=axis.value))
        for (victim, axis, _), same in comparable.items()
        if len(same) > 1
    ]


def _axis(table: Table) -> BudgetAxis | None:
    """Return the axis of a table's budget.

    ``None`` for a budget with both a radius and edits, and for one with neither.
    """
    if table.limits.get("per_channel"):
        return UNITS_AXIS
    axes = [axis for axis in BUDGET_AXES if table.limits.get(axis.field)]
    if len(axes) != 1:
        return None
    return L2_AXIS if table.limits.get("norm") == "l2" else axes[0]


def _curves(j: int, axis: BudgetAxis, tables: Sequence[Table]) -> Curves:
    last = tables[-1]
    attacks, rows = _attacks(last), (*last.rows, *last.unranked)
    series = {row.defense: _series(row.defense, axis, tables, attacks) for row in rows}
    budgets = [0.0, *map(axis.value, tables)]
    return Curves(
        j=j,
        victim=last.victim,
        axis=axis,
        budgets=tuple(table.budget for table in tables),
        omitted=sum(not (one.derived or one.made_against) for one in last.attacks) - len(attacks),
        panels=tuple(
            panel(defense, axis, lines, budgets)
            for defense, lines in series.items()
            if any(line.known for line in lines)
        ),
        by_attack=tuple(
            panel(attack, axis, lines, budgets)
            for attack, lines in _by_attack(rows, series).items()
            if any(line.known for line in lines)
        ),
    )


def _by_attack(
    rows: Sequence[Row], series: Mapping[str, Sequence[Series]]
) -> dict[str, list[Series]]:
    """Return attack → its line on each defence, in the order of rows; none of one defence.

    Controls are left out, and all attacks but the first: a page of all would be twice as large.
    """
    found: dict[str, list[Series]] = {}
    shown = [row for row in rows if row.is_control]
    shown += [row for row in rows if not row.is_control][:MOST]
    for row in shown if len(rows) > 1 else ():
        style = "control" if row.is_control else colour(shown.index(row) - shown[0].is_control)
        for line in [one for one in series[row.defense] if one.style != "control"][:MOST_PANELS]:
            found.setdefault(line.name, []).append(replace(line, name=row.defense, style=style))
    return found


def _attacks(table: Table) -> list[AttackRow]:
    """Return the attacks that have a line, in the table's order; controls always have one."""
    sign = table.headline.sign
    own = [row for row in table.attacks if not row.derived and not row.made_against]
    ranked = [row for row in own if not row.is_control]
    ranked.sort(key=lambda row: 2.0 if row.score is None else sign * row.score)
    names = {row.attack for row in ranked[:MOST]}
    return [row for row in own if row.is_control or row.attack in names]


def _series(
    defense: str, axis: BudgetAxis, tables: Sequence[Table], attacks: Sequence[AttackRow]
) -> list[Series]:
    """Return a defence's lines: the headline figure where there are several attacks, then each."""
    rows = [
        {row.defense: row for row in (*table.rows, *table.unranked)}.get(defense)
        for table in tables
    ]
    clean = next((row.clean for row in rows if row and row.clean), None)
    # The success rate of a trigger does not start at the clean figure.
    start = [(0.0, clean.value)] if clean and tables[-1].headline.higher_is_better else []
    budgets = [axis.value(table) for table in tables]
    series = [_together(tables[-1].headline.rule, rows, budgets, start)]
    number = 0
    for attack in attacks:
        cells = [(x, _cell(row, attack.attack)) for x, row in zip(budgets, rows, strict=True)]
        known = [(x, cell.score.value) for x, cell in cells if cell and cell.score]
        missing = [x for x, cell in cells if cell and cell.gap and not cell.score]
        style = "control" if attack.is_control else colour(number)
        number += not attack.is_control
        series.append(Series(attack.attack, style, start + known if known else [], missing))
    certified = [
        (x, row.certified)
        for x, row in zip(budgets, rows, strict=True)
        if row and row.certified is not None
    ]
    series += [Series("certified", "control", certified, [])] if certified else []
    return series if number > 1 else series[1:]


def _together(
    rule: str,
    rows: Sequence[Row | None],
    budgets: Sequence[float],
    start: list[tuple[float, float]],
) -> Series:
    """Return the line of the headline figure, at the budgets where it is no bound."""
    known = [
        (x, row.score.value)
        for x, row in zip(budgets, rows, strict=True)
        if row and row.score and not row.bound
    ]
    return Series(TOGETHER[rule], "all", start + known if known else [], [])


def _cell(row: Row | None, attack: str) -> TableCell | None:
    return next((cell for cell in row.cells if cell.attack == attack), None) if row else None
