"""Boards: one table of a matrix with its finding, figures and legend, as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.report.cells import STATUSES
from harness.report.names import in_table
from harness.report.site import figures, findings, scatter
from harness.report.site.findings import TextPart
from harness.report.tables import AttackRow, Row, Table

ACCESS = {
    "victim": "White-box",
    "oracle": "Query",
    "source": "Transfer",
    "none": "Before training",
}
"""What an attack holds → title of its columns."""

SCREENS = ((620, 390), (344, 360))
"""Width and height of a plot on wide and on narrow screens."""


@dataclass(frozen=True)
class Group:
    """Neighbouring columns of the matrix.

    Attributes:
        title: title above the columns.
        attacks: one attack a column.
        places: indices of the attacks in the table.
    """

    title: str
    attacks: tuple[AttackRow, ...]
    places: tuple[int, ...]


@dataclass(frozen=True)
class Absence:
    """Legend entry of a status without a number.

    Attributes:
        status: key of the status.
        word: the status as cells print it.
        count: number of cells with it.
        text: the reason if all cells share it, else the meaning of the status.
    """

    status: str
    word: str
    count: int
    text: str


@dataclass(frozen=True)
class Board:
    """One table with what stands beside it.

    Attributes:
        i: index of the budget on the page.
        j: index of the victim on the page.
        table: the table.
        finding: the sentence above it.
        dumbbells: defence → picture of its row.
        groups: columns of the matrix.
        folded: attacks without a result on any defence, by reason.
        absences: legend of the cells without a number.
        plots: the scatter plot, for wide and for narrow screens.
        mismatch: headline figure against where the training loss leads, for both, too.
    """

    i: int
    j: int
    table: Table
    finding: tuple[TextPart, ...]
    dumbbells: Mapping[str, figures.Dumbbell | None]
    groups: tuple[Group, ...]
    folded: tuple[tuple[str, tuple[AttackRow, ...]], ...]
    absences: tuple[Absence, ...]
    plots: tuple[scatter.Scatter, ...]
    mismatch: tuple[scatter.Scatter, ...]

    @property
    def best(self) -> Row | None:
        """The best defence; ``None`` where no defence is better than none.

        A control is no defence.
        """
        first = () if self.table.minimal else findings.first_places(self.table)
        if any(row.is_control for row in first):
            return None
        return first[0] if first else None

    @property
    def undefended(self) -> Row | None:
        """The undefended control, ranked or not."""
        rows = (*self.table.rows, *self.table.unranked)
        return next((row for row in rows if row.is_control), None)


def board(table: Table, i: int, j: int) -> Board:
    """Return the board of a table; ``i`` and ``j`` index its budget and its victim."""
    rows = (*table.rows, *table.unranked)
    return Board(
        i=i,
        j=j,
        table=table,
        finding=(*findings.ranking(table), *findings.warning(table)),
        dumbbells={row.defense: figures.dumbbell(row, table.headline) for row in rows},
        groups=tuple(_groups(table)),
        folded=tuple(_folded(table)),
        absences=tuple(_absences(table)),
        plots=_on_screens(scatter.scatter, table),
        mismatch=_on_screens(scatter.loss_mismatch, table),
    )


def _on_screens(
    plot: Callable[[Table, float, float], scatter.Scatter | None], table: Table
) -> tuple[scatter.Scatter, ...]:
    """Return a plot for wide and for narrow screens; nothing where there is none."""
    return tuple(drawn for size in SCREENS if (drawn := plot(table, *size)))


def _groups(table: Table) -> list[Group]:
    """Return the columns by access, with controls and ensembles apart; folded attacks have none."""
    controls = {row.defense for row in (*table.rows, *table.unranked) if row.is_control}
    titled: dict[str, list[int]] = {}
    for place, attack in enumerate(table.attacks):
        if not attack.folded:
            title = ACCESS.get(attack.access, attack.access)
            title = "Controls" if attack.is_control else title
            if attack.made_against:
                against = in_table(attack.made_against, is_control=attack.made_against in controls)
                title = f"Made against {against}"
            titled.setdefault("Ensembles" if attack.derived else title, []).append(place)
    return [
        Group(title, tuple(table.attacks[place] for place in places), tuple(places))
        for title, places in titled.items()
    ]


def _folded(table: Table) -> list[tuple[str, tuple[AttackRow, ...]]]:
    """Return the attacks without a result on any defence, by reason."""
    first = next(iter((*table.rows, *table.unranked)), None)
    by_reason: dict[str, list[AttackRow]] = {}
    for place, attack in enumerate(table.attacks):
        if attack.folded and first:
            cell = first.cells[place]
            by_reason.setdefault(cell.reason or cell.word, []).append(attack)
    return [(reason, tuple(attacks)) for reason, attacks in by_reason.items()]


def _absences(table: Table) -> list[Absence]:
    """Return the legend of the cells without a number."""
    cells = [cell for row in (*table.rows, *table.unranked) for cell in row.cells]
    missing = [cell for cell in cells if cell.score is None and cell.planned]
    entries = []
    for (status, word), count in sorted(Counter((c.status, c.word) for c in missing).items()):
        reasons = {cell.reason for cell in missing if (cell.status, cell.word) == (status, word)}
        shared = reasons.pop() if len(reasons) == 1 else None
        text = shared or (STATUSES[status].meaning if status != "ok" else "see the cell’s page")
        entries.append(Absence(status, word, count, text))
    return entries
