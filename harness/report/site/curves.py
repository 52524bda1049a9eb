"""Geometry of the curves: each defence's headline figure against how much the attack may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.report.site.figures import Tick, ticks
from harness.report.site.labels import LETTER, short, spread
from harness.report.tables import AttackRow, Row, Table, TableCell

WIDTH = 344.0
COLOURS = 6
"""Lines that differ in colour; the next ones repeat them dashed."""

TOGETHER = "all attacks"

MOST = 12
"""Attacks that have a line; of more, the strongest at the largest budget. No eye follows thirty."""


@dataclass(frozen=True)
class Axis:
    """What budgets of one kind differ in, and how that is said.

    Attributes:
        field: of the budget. per: what its values are multiplied by on the page.
        title: below the axis. unit: in words. zero: what stands at 0.
    """

    field: str
    per: float
    title: str
    unit: str
    zero: str


AXES = (
    Axis("eps", 255.0, "ε × 255 →", "L∞ radii in 255ths", "ε = 0"),
    Axis("edits", 100.0, "edited training examples, % →", "per cent of edits", "0 %"),
)

_LEFT, _TOP, _GAP = 34.0, 26.0, 14.5
_LONGEST = 16
_LEAST_APART = 24.0


@dataclass(frozen=True)
class Stroke:
    """One line of a panel.

    Attributes:
        name: its label, at ``label_y``. look: class of its look, ``all``, ``control`` or ``k0``…
        path: through the budgets that have a result. dots: the same as points. x, y: the last one.
        lacks: x of budgets at which the attack applies and has no result.
    """

    name: str
    look: str
    path: str
    dots: str
    x: float
    y: float
    label_y: float
    lacks: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One defence.

    Attributes:
        said: its figures in words. open: attacks that apply and have no result at any budget.
    """

    defense: str
    height: float
    left: float
    right: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    strokes: tuple[Stroke, ...]
    said: str
    open: tuple[str, ...]


@dataclass(frozen=True)
class Curves:
    """One victim under budgets that differ along one axis alone.

    Attributes:
        j: place of the victim. weaker: attacks that have no line because ``MOST`` are stronger.
    """

    j: int
    victim: str
    axis: Axis
    budgets: tuple[str, ...]
    weaker: int
    panels: tuple[Panel, ...]


def curves(tables: Sequence[Table]) -> list[Curves]:
    """The curves of a matrix; none where no two budgets can be joined."""
    victims = list(dict.fromkeys(table.victim for table in tables))
    series: dict[tuple[str, Axis, str], list[Table]] = {}
    for table in tables:
        axis = _axis(table)
        if axis:
            rest = repr(sorted((k, v) for k, v in table.limits.items() if k != axis.field))
            series.setdefault((table.victim, axis, rest), []).append(table)
    return [
        _curves(victims.index(victim), axis, sorted(found, key=lambda one: _spent(one, axis)))
        for (victim, axis, _), found in series.items()
        if len(found) > 1
    ]


def _axis(table: Table) -> Axis | None:
    """Radii make a curve in L∞ only; a budget with both a radius and edits has no one axis."""
    kinds = [axis for axis in AXES if table.limits.get(axis.field)]
    if table.limits.get("norm") not in (None, "linf") or len(kinds) != 1:
        return None
    return kinds[0]


def _spent(table: Table, axis: Axis) -> float:
    return float(table.limits[axis.field])


def _curves(j: int, axis: Axis, tables: Sequence[Table]) -> Curves:
    last = tables[-1]
    attacks = _attacks(last)
    drawn = {
        row.defense: _lines(row.defense, axis, tables, attacks)
        for row in (*last.rows, *last.unranked)
    }
    every = [value for lines in drawn.values() for line in lines for _, value in line.known]
    # One scale for all panels, so that they can be compared.
    scale = ticks([100 * value for value in every] or [0.0], most=5, whole=True)
    return Curves(
        j,
        last.victim,
        axis,
        tuple(table.budget for table in tables),
        sum(not attack.derived for attack in last.attacks) - len(attacks),
        tuple(
            _panel(defense, axis, lines, [_spent(table, axis) for table in tables], scale)
            for defense, lines in drawn.items()
            if any(line.known for line in lines)
        ),
    )


def _attacks(table: Table) -> list[AttackRow]:
    """Those that have a line, in the table's order; controls always do."""
    sign = table.headline.sign
    tried = [one for one in table.attacks if not one.derived and not one.is_control]
    tried.sort(key=lambda one: 2.0 if one.score is None else sign * one.score)
    names = {one.attack for one in tried[:MOST]}
    return [
        one for one in table.attacks if not one.derived and (one.is_control or one.attack in names)
    ]


class _Line(NamedTuple):
    """A line before it has a place: (budget, value) of what is known, budgets of what is not."""

    name: str
    look: str
    known: list[tuple[float, float]]
    lacking: list[float]


def _lines(
    defense: str, axis: Axis, tables: Sequence[Table], attacks: Sequence[AttackRow]
) -> list[_Line]:
    """All attacks together where there are several, then each, the strongest first."""
    rows = [
        {row.defense: row for row in (*table.rows, *table.unranked)}.get(defense)
        for table in tables
    ]
    last = tables[-1]
    clean = next((row.clean for row in rows if row and row.clean), None)
    # A trigger's success starts at no clean figure.
    start = [(0.0, clean.value)] if clean and last.headline.higher_is_better else []
    spent = [_spent(table, axis) for table in tables]
    lines = [_together(rows, spent, start)]
    number = 0
    for attack in attacks:
        cells = [(at, _cell(row, attack.attack)) for at, row in zip(spent, rows, strict=True)]
        known = [(at, cell.score.value) for at, cell in cells if cell and cell.score]
        lacking = [at for at, cell in cells if cell and cell.gap and not cell.score]
        look = "control" if attack.is_control else f"k{number % COLOURS}"
        look += " dash" if not attack.is_control and number >= COLOURS else ""
        number += not attack.is_control
        lines.append(_Line(attack.attack, look, start + known if known else [], lacking))
    if number < 2:
        lines = lines[1:]
    return lines


def _together(
    rows: Sequence[Row | None], spent: Sequence[float], start: list[tuple[float, float]]
) -> _Line:
    known = [
        (at, row.score.value)
        for at, row in zip(spent, rows, strict=True)
        if row and row.score and not row.bound
    ]
    return _Line(TOGETHER, "all", start + known if known else [], [])


def _cell(row: Row | None, attack: str) -> TableCell | None:
    return next((cell for cell in row.cells if cell.attack == attack), None) if row else None


def _panel(
    defense: str,
    axis: Axis,
    every: Sequence[_Line],
    spent: Sequence[float],
    scale: Sequence[float],
) -> Panel:
    lines = [line for line in every if line.known]
    names = [short(line.name, _LONGEST) for line in lines]
    right = round(WIDTH - 16 - LETTER * max(map(len, names)), 1)
    height = max(250.0, _GAP * len(lines) + 66)
    bottom = height - 40.0

    def across(at: float) -> float:
        return round(_LEFT + (right - _LEFT) * at / spent[-1], 1)

    def up(value: float) -> float:
        part = (100 * value - scale[0]) / (scale[-1] - scale[0])
        return round(bottom - (bottom - _TOP) * part, 1)

    heights = spread([up(line.known[-1][1]) for line in lines], _GAP, _TOP, bottom)
    strokes = []
    for line, name, label_y in zip(lines, names, heights, strict=True):
        places = [(across(at), up(value)) for at, value in line.known]
        strokes.append(
            Stroke(
                name=name,
                look=line.look,
                path="M" + "L".join(f"{x:g} {y:g}" for x, y in places),
                dots="".join(f"M{x:g} {y:g}h0" for x, y in places),
                x=places[-1][0],
                y=places[-1][1],
                label_y=label_y,
                lacks=tuple(across(at) for at in line.lacking),
            )
        )
    return Panel(
        defense=defense,
        height=height,
        left=_LEFT,
        right=right,
        bottom=bottom,
        x_ticks=_apart([Tick(across(at), _said_at(at, axis)) for at in (0.0, *spent)]),
        y_ticks=tuple(Tick(up(value / 100), f"{value:g}") for value in scale),
        strokes=tuple(strokes),
        said="; ".join(_said(line, axis) for line in lines),
        open=tuple(line.name for line in every if line.lacking and not line.known),
    )


def _apart(found: Sequence[Tick]) -> tuple[Tick, ...]:
    """Ticks from the right that do not run into each other; the largest budget keeps its own."""
    kept: list[Tick] = []
    for tick in reversed(found):
        if not kept or kept[-1].at - tick.at >= _LEAST_APART:
            kept.append(tick)
    return tuple(reversed(kept))


def _said_at(at: float, axis: Axis) -> str:
    """A budget in the axis's unit.

    >>> _said_at(8 / 255, AXES[0]), _said_at(0.1, AXES[0]), _said_at(0.35, AXES[1])
    ('8', '25.5', '35')
    """
    return f"{axis.per * at:.3g}"


def _said(line: _Line, axis: Axis) -> str:
    values = ", ".join(f"{100 * value:.1f} at {_said_at(at, axis)}" for at, value in line.known)
    return f"{line.name} {values}"
