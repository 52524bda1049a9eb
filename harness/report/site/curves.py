"""Geometry of the curves: each defence's headline figure against the attack's budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.report.site.axes import RATES, SMALL, Frame, Plot, Tick, plain_label, round_values
from harness.report.site.labels import shorten, spread
from harness.report.tables import AttackRow, Row, Table, TableCell

WIDTH = 344.0
COLOURS = 6
"""Number of line colours; further lines repeat them dashed."""

TOGETHER = {
    "joint": "all attacks",
    "greedy": "all attacks",
    "images": "all attacks",
    "single": "strongest attack",
}
"""Rule of the worst case → name of its line: under ``single`` the attacker picks one attack."""

MOST = 12
"""Most attacks with a line, the strongest at the largest budget; more lines cannot be followed."""

_GAP = 14.5
_LONGEST = 16
_LEAST_TICK_GAP = 24.0


@dataclass(frozen=True)
class BudgetAxis:
    """Field in which the budgets of a figure differ, with its texts.

    Attributes:
        field: name of the budget's field.
        factor: multiplies its values on the page.
        title: title of the axis.
        unit: the unit in words.
        zero: what 0 is called.
    """

    field: str
    factor: float
    title: str
    unit: str
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
    BudgetAxis("eps", 255.0, "ε × 255 →", "L∞ radii in 255ths", "ε = 0"),
    BudgetAxis("edits", 100.0, "edited training examples, % →", "per cent of edits", "0 %"),
)

UNITS_AXIS = BudgetAxis(
    "eps", 1.0, "ε, in the unit of each channel →", "L∞ radii in each channel's unit", "ε = 0"
)
"""Axis of radii that differ between channels: the budget's label has their units."""


@dataclass(frozen=True)
class Curve:
    """One line of a panel.

    Attributes:
        name: text of its label.
        style: CSS classes: ``all``, ``control`` or ``k0`` to ``k5``, perhaps with ``dash``.
        path: SVG path through the budgets with a result.
        dots: SVG path of the same points.
        x: position of the last point.
        y: position of the last point.
        label_y: position of the label.
        missing: positions of the budgets at which the attack applies and has no result.
    """

    name: str
    style: str
    path: str
    dots: str
    x: float
    y: float
    label_y: float
    missing: tuple[float, ...]


@dataclass(frozen=True)
class Panel(Plot):
    """Figure of one defence.

    Attributes:
        defense: label of the defence.
        curves: its lines.
        description: its figures in words.
        missing: attacks that apply and have no result at any budget.
    """

    defense: str
    curves: tuple[Curve, ...]
    description: str
    missing: tuple[str, ...]


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
    """

    j: int
    victim: str
    axis: BudgetAxis
    budgets: tuple[str, ...]
    omitted: int
    panels: tuple[Panel, ...]


class _Series(NamedTuple):
    """Data of a line: (budget, value) of the results, and the budgets without one."""

    name: str
    style: str
    known: list[tuple[float, float]]
    missing: list[float]


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

    ``None`` for radii in other norms than L∞, and for a budget with both a radius and edits.
    """
    if table.limits.get("per_channel"):
        return UNITS_AXIS
    axes = [axis for axis in BUDGET_AXES if table.limits.get(axis.field)]
    if table.limits.get("norm") not in (None, "linf") or len(axes) != 1:
        return None
    return axes[0]


def _curves(j: int, axis: BudgetAxis, tables: Sequence[Table]) -> Curves:
    last = tables[-1]
    attacks = _attacks(last)
    series = {
        row.defense: _series(row.defense, axis, tables, attacks)
        for row in (*last.rows, *last.unranked)
    }
    # One y axis for all panels and pages, so that they can be compared and nothing looks large.
    y_values = round_values(RATES, most=5, from_zero=True)
    return Curves(
        j=j,
        victim=last.victim,
        axis=axis,
        budgets=tuple(table.budget for table in tables),
        omitted=sum(not (one.derived or one.made_against) for one in last.attacks) - len(attacks),
        panels=tuple(
            _panel(defense, axis, lines, [axis.value(table) for table in tables], y_values)
            for defense, lines in series.items()
            if any(line.known for line in lines)
        ),
    )


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
) -> list[_Series]:
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
        style = "control" if attack.is_control else f"k{number % COLOURS}"
        style += " dash" if not attack.is_control and number >= COLOURS else ""
        number += not attack.is_control
        series.append(_Series(attack.attack, style, start + known if known else [], missing))
    return series if number > 1 else series[1:]


def _together(
    rule: str,
    rows: Sequence[Row | None],
    budgets: Sequence[float],
    start: list[tuple[float, float]],
) -> _Series:
    """Return the line of the headline figure, at the budgets where it is no bound."""
    known = [
        (x, row.score.value)
        for x, row in zip(budgets, rows, strict=True)
        if row and row.score and not row.bound
    ]
    return _Series(TOGETHER[rule], "all", start + known if known else [], [])


def _cell(row: Row | None, attack: str) -> TableCell | None:
    return next((cell for cell in row.cells if cell.attack == attack), None) if row else None


def _panel(
    defense: str,
    axis: BudgetAxis,
    series: Sequence[_Series],
    budgets: Sequence[float],
    y_values: Sequence[float],
) -> Panel:
    lines = [line for line in series if line.known]
    names = [shorten(line.name, _LONGEST) for line in lines]
    height = max(250.0, _GAP * len(lines) + 66)
    # The names stand to the right of the plot area, each beside the end of its line.
    right = round(WIDTH - 16 - SMALL.letter * max(map(len, names)), 1)
    frame = Frame(WIDTH, height, left=34.0, top=26.0, right=right, bottom=height - 40.0)
    x, y = frame.across(0.0, budgets[-1]), frame.up(y_values[0], y_values[-1])
    ends = [y.at(100 * line.known[-1][1]) for line in lines]
    label_ys = spread(ends, _GAP, frame.top, frame.bottom)
    drawn = []
    for line, name, label_y in zip(lines, names, label_ys, strict=True):
        points = [(x.at(budget), y.at(100 * value)) for budget, value in line.known]
        drawn.append(
            Curve(
                name=name,
                style=line.style,
                path="M" + "L".join(f"{px:g} {py:g}" for px, py in points),
                dots="".join(f"M{px:g} {py:g}h0" for px, py in points),
                x=points[-1][0],
                y=points[-1][1],
                label_y=label_y,
                missing=tuple(x.at(budget) for budget in line.missing),
            )
        )
    return Panel(
        frame=frame,
        x_ticks=_thin(x.ticks((0.0, *budgets), axis.label)),
        y_ticks=y.ticks(y_values, plain_label),
        defense=defense,
        curves=tuple(drawn),
        description="; ".join(_description(line, axis) for line in lines),
        missing=tuple(line.name for line in series if line.missing and not line.known),
    )


def _thin(ticks: Sequence[Tick]) -> tuple[Tick, ...]:
    """Return ticks whose labels do not touch; the largest budget always keeps its own."""
    thinned: list[Tick] = []
    for tick in reversed(ticks):
        if not thinned or thinned[-1].at - tick.at >= _LEAST_TICK_GAP:
            thinned.append(tick)
    return tuple(reversed(thinned))


def _description(line: _Series, axis: BudgetAxis) -> str:
    values = ", ".join(f"{100 * value:.1f} at {axis.label(x)}" for x, value in line.known)
    return f"{line.name} {values}"
