"""Geometry of the curves: each defence's headline figure against the radius of the L∞ ball."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.board import AttackRow, Cell, Row, Table
from harness.site.figures import Tick, ticks
from harness.site.labels import LETTER, short, spread

WIDTH = 344.0
COLOURS = 6
"""Lines that differ in colour; the next ones repeat them dashed."""

TOGETHER = "all attacks"

MOST = 12
"""Attacks that have a line; of more, the strongest at the largest radius. No eye follows thirty."""

_LEFT, _TOP, _GAP = 34.0, 26.0, 14.5
_LONGEST = 16
_LEAST_APART = 24.0


@dataclass(frozen=True)
class Stroke:
    """One line of a panel.

    Attributes:
        name: its label, at ``label_y``. look: class of its look, ``all``, ``control`` or ``k0``…
        path: through the radii that have a result. dots: the same as points. x, y: the last one.
        lacks: x of radii at which the attack applies and has no result.
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
        said: its figures in words. open: attacks that apply and have no result at any radius.
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
    """One victim under budgets that differ in their radius alone.

    Attributes:
        j: place of the victim. weaker: attacks that have no line because ``MOST`` are stronger.
    """

    j: int
    victim: str
    budgets: tuple[str, ...]
    weaker: int
    panels: tuple[Panel, ...]


def curves(tables: Sequence[Table]) -> list[Curves]:
    """The curves of a matrix; none where there are no two L∞ radii to join."""
    victims = list(dict.fromkeys(table.victim for table in tables))
    series: dict[tuple[str, str], list[Table]] = {}
    for table in tables:
        if table.limits.get("norm") == "linf" and table.eps:
            rest = repr(sorted((k, v) for k, v in table.limits.items() if k != "eps"))
            series.setdefault((table.victim, rest), []).append(table)
    return [
        _curves(victims.index(victim), sorted(found, key=_radius))
        for (victim, _), found in series.items()
        if len(found) > 1
    ]


def _radius(table: Table) -> float:
    return table.eps or 0.0


def _curves(j: int, tables: Sequence[Table]) -> Curves:
    last = tables[-1]
    attacks = _attacks(last)
    drawn = {
        row.defense: _lines(row.defense, tables, attacks) for row in (*last.rows, *last.unranked)
    }
    every = [value for lines in drawn.values() for line in lines for _, value in line.known]
    # One scale for all panels, so that they can be compared.
    scale = ticks([100 * value for value in every] or [0.0], most=5, whole=True)
    return Curves(
        j,
        last.victim,
        tuple(table.budget for table in tables),
        sum(not attack.derived for attack in last.attacks) - len(attacks),
        tuple(
            _panel(defense, lines, [_radius(table) for table in tables], scale)
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
    """A line before it has a place: (radius, value) of what is known, radii of what is not."""

    name: str
    look: str
    known: list[tuple[float, float]]
    lacking: list[float]


def _lines(defense: str, tables: Sequence[Table], attacks: Sequence[AttackRow]) -> list[_Line]:
    """All attacks together where there are several, then each, the strongest first."""
    rows = [
        {row.defense: row for row in (*table.rows, *table.unranked)}.get(defense)
        for table in tables
    ]
    last = tables[-1]
    clean = next((row.clean for row in rows if row and row.clean), None)
    # A trigger's success starts at no clean figure.
    start = [(0.0, clean.value)] if clean and last.headline.higher_is_better else []
    lines = [_together(rows, tables, start)]
    number = 0
    for attack in attacks:
        cells = [
            (_radius(table), _cell(row, attack.attack))
            for table, row in zip(tables, rows, strict=True)
        ]
        known = [(radius, cell.score.value) for radius, cell in cells if cell and cell.score]
        lacking = [radius for radius, cell in cells if cell and cell.gap and not cell.score]
        look = "control" if attack.is_control else f"k{number % COLOURS}"
        look += " dash" if not attack.is_control and number >= COLOURS else ""
        number += not attack.is_control
        lines.append(_Line(attack.attack, look, start + known if known else [], lacking))
    if number < 2:
        lines = lines[1:]
    return lines


def _together(
    rows: Sequence[Row | None], tables: Sequence[Table], start: list[tuple[float, float]]
) -> _Line:
    known = [
        (_radius(table), row.score.value)
        for table, row in zip(tables, rows, strict=True)
        if row and row.score and not row.bound
    ]
    return _Line(TOGETHER, "all", start + known if known else [], [])


def _cell(row: Row | None, attack: str) -> Cell | None:
    return next((cell for cell in row.cells if cell.attack == attack), None) if row else None


def _panel(
    defense: str, every: Sequence[_Line], radii: Sequence[float], scale: Sequence[float]
) -> Panel:
    lines = [line for line in every if line.known]
    names = [short(line.name, _LONGEST) for line in lines]
    right = round(WIDTH - 16 - LETTER * max(map(len, names)), 1)
    height = max(250.0, _GAP * len(lines) + 66)
    bottom = height - 40.0

    def across(radius: float) -> float:
        return round(_LEFT + (right - _LEFT) * radius / radii[-1], 1)

    def up(value: float) -> float:
        part = (100 * value - scale[0]) / (scale[-1] - scale[0])
        return round(bottom - (bottom - _TOP) * part, 1)

    heights = spread([up(line.known[-1][1]) for line in lines], _GAP, _TOP, bottom)
    strokes = []
    for line, name, label_y in zip(lines, names, heights, strict=True):
        places = [(across(radius), up(value)) for radius, value in line.known]
        strokes.append(
            Stroke(
                name=name,
                look=line.look,
                path="M" + "L".join(f"{x:g} {y:g}" for x, y in places),
                dots="".join(f"M{x:g} {y:g}h0" for x, y in places),
                x=places[-1][0],
                y=places[-1][1],
                label_y=label_y,
                lacks=tuple(across(radius) for radius in line.lacking),
            )
        )
    return Panel(
        defense=defense,
        height=height,
        left=_LEFT,
        right=right,
        bottom=bottom,
        x_ticks=_apart([Tick(across(radius), _eps(radius)) for radius in (0.0, *radii)]),
        y_ticks=tuple(Tick(up(value / 100), f"{value:g}") for value in scale),
        strokes=tuple(strokes),
        said="; ".join(_said(line) for line in lines),
        open=tuple(line.name for line in every if line.lacking and not line.known),
    )


def _apart(found: Sequence[Tick]) -> tuple[Tick, ...]:
    """Ticks from the right that do not run into each other; the largest radius keeps its own."""
    kept: list[Tick] = []
    for tick in reversed(found):
        if not kept or kept[-1].at - tick.at >= _LEAST_APART:
            kept.append(tick)
    return tuple(reversed(kept))


def _eps(radius: float) -> str:
    """A radius in 255ths, the axis's unit.

    >>> _eps(8 / 255), _eps(0.1)
    ('8', '25.5')
    """
    return f"{255 * radius:.3g}"


def _said(line: _Line) -> str:
    values = ", ".join(f"{100 * value:.1f} at {_eps(radius)}" for radius, value in line.known)
    return f"{line.name} {values}"
