"""What the pages show, as plain data: one value a page, no HTML and no numbers made into text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from harness.config.threat import THREATS, ThreatModel
from harness.report.cells import STATUSES, Line, lines
from harness.report.leaderboard import tables
from harness.report.site import class_plots, curves, figures, findings, flips, scatter
from harness.report.site.changes import Changes, changes
from harness.report.site.classes import Classes, Move, classes_of, largest_moves
from harness.report.site.findings import TextPart
from harness.report.site.format import anchor, decimals, slug
from harness.report.tables import AttackRow, Cell, Flag, Row, Table

ACCESS = {
    "victim": "White-box",
    "oracle": "Query",
    "source": "Transfer",
    "none": "Before training",
}


@dataclass(frozen=True)
class SiteMeta:
    """What the site says that is in no record.

    Attributes:
        version: of Gauntlet. note: a line on every page, such as a warning, or empty.
        benchmarks: benchmark → a sentence about it.
        summaries: module folder (``attacks/pgd``) → its manifest's summary.
        approximate: folders of defences whose gradients are stand-ins.
    """

    version: str = ""
    note: str = ""
    benchmarks: Mapping[str, str] = field(default_factory=dict)
    summaries: Mapping[str, str] = field(default_factory=dict)
    approximate: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Group:
    """Neighbouring columns of the matrix; ``places`` index the table's attacks."""

    title: str
    attacks: tuple[AttackRow, ...]
    places: tuple[int, ...]


@dataclass(frozen=True)
class Absence:
    """One status of a board's legend, with the reason when all cells share it."""

    status: str
    word: str
    count: int
    text: str


@dataclass(frozen=True)
class Board:
    """One table and what is drawn beside it. ``i``: place of its budget; ``j``: of its victim."""

    i: int
    j: int
    table: Table
    finding: tuple[TextPart, ...]
    dumbbells: Mapping[str, figures.Dumbbell | None]
    groups: tuple[Group, ...]
    folded: tuple[tuple[str, tuple[AttackRow, ...]], ...]
    absences: tuple[Absence, ...]
    plots: tuple[scatter.Scatter, ...]

    @property
    def best(self) -> Row | None:
        """The first ranked defence."""
        return self.table.rows[0] if self.table.rows else None

    @property
    def undefended(self) -> Row | None:
        """The undefended control, wherever it stands; it may have no figure yet."""
        every = (*self.table.rows, *self.table.unranked)
        return next((row for row in every if row.is_control), None)


@dataclass(frozen=True)
class MatrixPage:
    """One benchmark × matrix.

    Attributes:
        path: its folder below the site's root. counts: status → planned cells, seeds one by one.
        what: defence and attack labels → summary.
        approximate: defences whose figures an attack with better gradients may lower.
        empty: no cell has a record. reasons: then, why not.
        contained: every cell ran in containers. mixed: only some did, so that each must say.
        self_reported: cells that ran without isolation.
    """

    benchmark: str
    matrix: str
    task: str
    threat: ThreatModel
    path: str
    boards: tuple[Board, ...]
    budgets: tuple[str, ...]
    victims: tuple[str, ...]
    counts: Mapping[str, int]
    bar: tuple[figures.Segment, ...]
    measured: str | None
    contained: bool
    mixed: bool
    self_reported: int
    empty: bool
    reasons: tuple[str, ...]
    flags: tuple[Flag, ...]
    flagged: int
    what: Mapping[str, str]
    approximate: frozenset[str]
    planned: tuple[Line, ...]
    curves: tuple[curves.Curves, ...]
    flips: tuple[flips.Flips, ...]

    @property
    def total(self) -> int:
        """Planned cells that could have a result."""
        return sum(n for status, n in self.counts.items() if status != "not_applicable")

    @property
    def sample(self) -> Table:
        """A table to take the words from: all of a page have the same headline."""
        return self.boards[0].table


@dataclass(frozen=True)
class Section:
    """One budget of a cell page.

    Attributes:
        changes: how much inputs were changed.
        classes: of a segmentation cell; moves, shares: what is drawn of them; lost, moved,
            ranks: what that shows, in a sentence each.
    """

    anchor: str
    cell: Cell
    row: Row
    table: Table
    lines: tuple[Line, ...]
    changes: Changes | None
    classes: Classes | None
    moves: class_plots.HeatMap | None
    largest: tuple[Move, ...]
    shares: class_plots.SharePlot | None
    lost: tuple[TextPart, ...]
    moved: tuple[TextPart, ...]
    ranks: tuple[TextPart, ...]

    @property
    def drawn(self) -> bool:
        """Whether an attack handed in images, of which some are kept for pictures."""
        return any("measure" in line.record["stages"] for line in self.lines if line.record)


@dataclass(frozen=True)
class CellPage:
    """One defence × attack × victim."""

    page: MatrixPage
    defense: str
    attack: str
    victim: str
    path: str
    sections: tuple[Section, ...]

    @property
    def has_classes(self) -> bool:
        """Whether some budget has figures of single classes."""
        return any(section.classes for section in self.sections)

    @property
    def has_moves(self) -> bool:
        """Whether some budget tells what its predictions turn into."""
        return any(section.moves for section in self.sections)


def cell_path(victim: str, defense: str, attack: str) -> str:
    """Where a cell's page lies below its matrix's folder."""
    return f"{slug(victim)}/{slug(defense)}/{slug(attack)}.html"


def pages(frame: pd.DataFrame, meta: SiteMeta) -> list[MatrixPage]:
    """One page a benchmark × matrix, as planned."""
    planned: dict[tuple[str, str], list[Line]] = {}
    for line in lines(frame):
        planned.setdefault((line.benchmark, line.matrix), []).append(line)
    found: dict[tuple[str, str], list[Table]] = {}
    for table in tables(frame):
        found.setdefault((table.benchmark, table.matrix), []).append(table)
    return [_page(planned[key], found[key], meta) for key in planned]


def _page(planned: Sequence[Line], found: Sequence[Table], meta: SiteMeta) -> MatrixPage:
    first = planned[0]
    budgets = tuple(dict.fromkeys(table.budget for table in found))
    victims = tuple(dict.fromkeys(table.victim for table in found))
    counts = Counter(line.status for line in planned)
    ran = [line for line in planned if line.record]
    own = sum(line.self_reported for line in ran)
    modules = _modules(planned)
    threat = THREATS[first.threat_model]
    # who does not hold the defence meets no gradient of it
    stand_ins = meta.approximate if threat.access == "victim" else frozenset()
    boards = tuple(
        _board(table, budgets.index(table.budget), victims.index(table.victim)) for table in found
    )
    flagged = [
        flag
        for board in boards
        for row in (*board.table.rows, *board.table.unranked)
        for flag in row.flags
    ]
    return MatrixPage(
        benchmark=first.benchmark,
        matrix=first.matrix,
        task=first.task,
        threat=threat,
        path=f"{slug(first.benchmark)}/{slug(first.matrix)}",
        boards=boards,
        budgets=budgets,
        victims=victims,
        counts=counts,
        bar=tuple(figures.status_bar(counts)),
        measured=max((table.measured for table in found if table.measured), default=None),
        contained=not own,
        mixed=0 < own < sum(line.contained or line.self_reported for line in ran),
        self_reported=own,
        empty=not ran,
        reasons=_reasons(planned),
        flags=tuple({flag.name: flag for flag in flagged}.values()),
        flagged=len({line.key for line in ran if line.record and line.record.get("flags")}),
        what={
            label: meta.summaries[ref] for label, ref in modules.items() if ref in meta.summaries
        },
        approximate=frozenset(label for label, ref in modules.items() if ref in stand_ins),
        planned=tuple(planned),
        curves=tuple(curves.curves(found)),
        flips=tuple(flips.flips(planned)),
    )


def _reasons(planned: Iterable[Line]) -> tuple[str, ...]:
    """Why cells have no result, each reason once, the most frequent first."""
    told = Counter(
        line.why or STATUSES[line.status].meaning for line in planned if line.status != "ok"
    )
    return tuple(reason for reason, _ in told.most_common(6))


def _modules(planned: Iterable[Line]) -> dict[str, str]:
    """Label → folder of its module; records say which module a label stands for."""
    found: dict[str, str] = {}
    for line in planned:
        cell = line.record["cell"] if line.record else {}
        for folder, label, module in (
            ("defenses", line.defense, cell.get("defense_module")),
            ("attacks", line.attack, cell.get("attack_module")),
        ):
            if module or label not in found:
                found[label] = f"{folder}/{module or label.split('/')[0]}"
    return found


def _board(table: Table, i: int, j: int) -> Board:
    rows = (*table.rows, *table.unranked)
    plots = (scatter.scatter(table, 620, 390), scatter.scatter(table, 344, 360))
    return Board(
        i=i,
        j=j,
        table=table,
        finding=(*findings.ranking(table), *findings.warning(table)),
        dumbbells={row.defense: figures.dumbbell(row, table.headline) for row in rows},
        groups=tuple(_groups(table)),
        folded=tuple(_folded(table)),
        absences=tuple(_absences(table)),
        plots=tuple(plot for plot in plots if plot),
    )


def _groups(table: Table) -> list[Group]:
    """Columns by access, controls and ensembles apart; those without a number are folded."""
    titled: dict[str, list[int]] = {}
    for place, attack in enumerate(table.attacks):
        if not attack.folded:
            title = ACCESS.get(attack.access, attack.access)
            title = "Controls" if attack.is_control else title
            titled.setdefault("Ensembles" if attack.derived else title, []).append(place)
    return [
        Group(title, tuple(table.attacks[place] for place in places), tuple(places))
        for title, places in titled.items()
    ]


def _folded(table: Table) -> list[tuple[str, tuple[AttackRow, ...]]]:
    """Attacks without a number, by the reason that they share."""
    first = next(iter((*table.rows, *table.unranked)), None)
    found: dict[str, list[AttackRow]] = {}
    for place, attack in enumerate(table.attacks):
        if attack.folded and first:
            cell = first.cells[place]
            found.setdefault(cell.reason or cell.word, []).append(attack)
    return [(reason, tuple(attacks)) for reason, attacks in found.items()]


def _absences(table: Table) -> list[Absence]:
    cells = [cell for row in (*table.rows, *table.unranked) for cell in row.cells]
    missing = [cell for cell in cells if cell.score is None]
    found = []
    for (status, word), count in sorted(Counter((c.status, c.word) for c in missing).items()):
        reasons = {cell.reason for cell in missing if (cell.status, cell.word) == (status, word)}
        shared = reasons.pop() if len(reasons) == 1 else None
        text = shared or (STATUSES[status].meaning if status != "ok" else "see the cell")
        found.append(Absence(status, word, count, text))
    return found


def cell_pages(page: MatrixPage) -> list[CellPage]:
    """The pages of a matrix's cells, one a defence × attack × victim."""
    found: dict[tuple[str, str, str], dict[str, list[Line]]] = {}
    for line in page.planned:
        budgets = found.setdefault((line.victim, line.defense, line.attack), {})
        budgets.setdefault(line.budget, []).append(line)
    rows = {
        (board.table.victim, row.defense, board.table.budget): (row, board.table)
        for board in page.boards
        for row in (*board.table.rows, *board.table.unranked)
    }
    anchors = {budget: anchor(budget, page.budgets) for budget in page.budgets}
    made = []
    for (victim, defense, attack), budgets in found.items():
        sections = []
        for budget in (b for b in page.budgets if b in budgets):
            row, table = rows[victim, defense, budget]
            cell = next(cell for cell in row.cells if cell.attack == attack)
            told = tuple(sorted(budgets[budget], key=lambda line: line.seed))
            sections.append(_section(anchors[budget], cell, row, table, told))
        path = cell_path(victim, defense, attack)
        made.append(CellPage(page, defense, attack, victim, path, tuple(sections)))
    return made


def _section(name: str, cell: Cell, row: Row, table: Table, told: tuple[Line, ...]) -> Section:
    classes = classes_of(told) if table.task == "segmentation" else None
    return Section(
        anchor=name,
        cell=cell,
        row=row,
        table=table,
        lines=told,
        changes=changes(told),
        classes=classes,
        moves=class_plots.heat_map(classes) if classes else None,
        largest=largest_moves(classes) if classes else (),
        shares=class_plots.share_plot(classes) if classes else None,
        lost=tuple(findings.lost(classes, decimals(n=table.examples))) if classes else (),
        moved=tuple(findings.moved(classes)) if classes else (),
        ranks=tuple(findings.ranks(classes)) if classes else (),
    )
