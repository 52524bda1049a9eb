"""Content of the pages as plain data: one value a page, without HTML or formatted numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from harness.config.threat import THREATS, ThreatModel
from harness.report.blinding import SIGNS
from harness.report.cells import STATUSES, CellRow, cell_rows
from harness.report.leaderboard import tables
from harness.report.site import (
    about,
    amounts,
    boards,
    class_plots,
    curves,
    distances,
    figures,
    findings,
    flips,
)
from harness.report.site.attention import Attention, attention
from harness.report.site.classes import Classes, Move, classes_of, largest_moves
from harness.report.site.findings import TextPart
from harness.report.site.format import anchor, decimals, slug
from harness.report.site.page_modules import check_states, families_of, modules_of, orders_of
from harness.report.site.samples import Samples
from harness.report.site.seed_tables import SeedTable, changes, handed, health
from harness.report.tables import Row, Table, TableCell, TableFlag


@dataclass(frozen=True)
class SiteMeta:
    """Content of the site that is in no record.

    Attributes:
        version: version of Gauntlet.
        note: a line on every page, such as a warning, or empty.
        benchmarks: benchmark → its words about itself.
        matrices: (benchmark, matrix) → its words about itself.
        cards: name of a data set → what pages say of it.
        samples: name of a data set → pictures of its first judged examples, or ``None``.
        summaries: module folder (``attacks/pgd``) → its manifest's summary.
        families: folder of an attack → its family.
    """

    version: str = ""
    note: str = ""
    benchmarks: Mapping[str, about.Heading] = field(default_factory=dict)
    matrices: Mapping[tuple[str, str], about.Heading] = field(default_factory=dict)
    cards: Mapping[str, about.DataCard] = field(default_factory=dict)
    samples: Callable[[str], Samples | None] = lambda name: None
    summaries: Mapping[str, str] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)

    def benchmark(self, name: str) -> about.Heading:
        """Return a benchmark's words about itself; without any, its name is the title."""
        return self.benchmarks.get(name, about.Heading(name))

    def matrix(self, benchmark: str, name: str) -> about.Heading:
        """Return a matrix's words about itself; without any, its name is the title."""
        return self.matrices.get((benchmark, name), about.Heading(name))


@dataclass(frozen=True)
class MatrixPage:
    """One benchmark × matrix.

    Attributes:
        benchmark: label of the benchmark.
        matrix: label of the matrix.
        task: task of its victims.
        threat: its threat model.
        path: its folder below the site's root.
        heading: its words about itself.
        brief: data, size and effort in one line.
        facts: what is to be known before the first number.
        samples: the first judged examples, ``None`` without pictures.
        undefended: labels of the defences that are no defence.
        boards: one board a budget and victim.
        budgets: labels of the budgets.
        victims: labels of the victims.
        counts: status → number of planned cells, each seed counted.
        bar: the status bar of the counts.
        measured: moment of the newest record, ``None`` without one.
        contained: whether every cell ran in containers.
        mixed: whether only some cells ran in containers, so that each cell must say so.
        self_reported: number of cells that ran without isolation.
        empty: whether no cell has a record, nor had one that was withdrawn.
        reasons: the most frequent reasons why cells have no result.
        flags: flags of the boards that doubt a number, one of each name.
        caveats: names of the caveats of its rows.
        raised: names of all flags but signs of blinding, also of those that doubt nothing.
        flagged: number of cells with a flag that doubts the number, all seeds together.
        checked: state of ``gauntlet check`` → the modules of the page's records in it.
        what: label of a defence or an attack → its summary.
        planned: all planned cells.
        curves: the curves over the budget.
        distances: accuracy over the radius, where nearest wrong inputs were looked for.
        amounts: the charts over the amount of training data, of a matrix with several.
        flips: the flipped comparisons, one section a victim.
        attention: where the networks look, one value a victim, attack, budget and mode.
    """

    benchmark: str
    matrix: str
    task: str
    threat: ThreatModel
    path: str
    heading: about.Heading
    brief: str
    facts: tuple[about.Fact, ...]
    samples: Samples | None
    undefended: frozenset[str]
    boards: tuple[boards.Board, ...]
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
    flags: tuple[TableFlag, ...]
    caveats: frozenset[str]
    raised: tuple[str, ...]
    flagged: int
    checked: Mapping[str, tuple[str, ...]]
    what: Mapping[str, str]
    planned: tuple[CellRow, ...]
    curves: tuple[curves.Curves, ...]
    distances: tuple[distances.Distances, ...]
    amounts: amounts.Amounts | None
    flips: tuple[flips.Flips, ...]
    attention: tuple[Attention, ...]

    @property
    def total(self) -> int:
        """Number of planned cells that could have a result."""
        return sum(n for status, n in self.counts.items() if status != "not_applicable")

    @property
    def sample(self) -> Table:
        """A table of the page; all have the same headline, and distances come last."""
        return self.boards[0].table


@dataclass(frozen=True)
class Section:
    """One budget of a cell page.

    Attributes:
        anchor: fragment of its address.
        cell: the cell of the table.
        row: the defence's row of the table.
        table: the table.
        lines: the planned cells, one a seed.
        changes: the perturbation sizes.
        health: the health of gradients.
        handed: what each of several attacks in order broke.
        classes: figures of single classes, in segmentation.
        moves: heat map of the changed predictions.
        largest: the most frequent changes.
        shares: IoU drop against share of pixels.
        iou_drop: sentence on the drop of IoU.
        prediction_changes: sentence on the changed predictions.
        drop_correlation: sentence on drop and share.
    """

    anchor: str
    cell: TableCell
    row: Row
    table: Table
    lines: tuple[CellRow, ...]
    changes: SeedTable | None
    health: SeedTable | None
    handed: SeedTable | None
    classes: Classes | None
    moves: class_plots.HeatMap | None
    largest: tuple[Move, ...]
    shares: class_plots.SharePlot | None
    iou_drop: tuple[TextPart, ...]
    prediction_changes: tuple[TextPart, ...]
    drop_correlation: tuple[TextPart, ...]

    @property
    def has_images(self) -> bool:
        """Whether the attack made images, some of which are stored for pictures."""
        return any("measure" in line.record.stages for line in self.lines if line.record)


@dataclass(frozen=True)
class CellPage:
    """One defence × attack × victim.

    Attributes:
        page: the page of its matrix.
        defense: label of the defence.
        attack: label of the attack.
        victim: label of the victim.
        path: its address below the matrix's folder.
        sections: one section a budget.
    """

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
        """Whether some budget has counts of changed predictions."""
        return any(section.moves for section in self.sections)


def cell_path(victim: str, defense: str, attack: str) -> str:
    """Return the address of a cell's page below its matrix's folder."""
    return f"{slug(victim)}/{slug(defense)}/{slug(attack)}.html"


def pages(frame: pd.DataFrame, meta: SiteMeta) -> list[MatrixPage]:
    """Return one page for each benchmark and matrix, as planned."""
    planned: dict[tuple[str, str], list[CellRow]] = {}
    for line in cell_rows(frame):
        planned.setdefault((line.benchmark, line.matrix), []).append(line)
    found: dict[tuple[str, str], list[Table]] = {}
    for table in tables(frame):
        found.setdefault((table.benchmark, table.matrix), []).append(table)
    joined = amounts.joined(found, lambda *name: meta.matrix(*name).examples)
    return [_page(planned[key], found[key], meta, joined.get(key)) for key in planned]


def _page(
    planned: Sequence[CellRow],
    found: Sequence[Table],
    meta: SiteMeta,
    levels: amounts.Amounts | None,
) -> MatrixPage:
    first = planned[0]
    budgets = tuple(dict.fromkeys(table.budget for table in found))
    victims = tuple(dict.fromkeys(table.victim for table in found))
    counts = Counter(line.status for line in planned)
    ran = [line for line in planned if line.record]
    own = sum(line.self_reported for line in ran)
    modules = modules_of(planned)
    threat = THREATS[first.threat_model]
    drawn = tuple(
        boards.board(table, budgets.index(table.budget), victims.index(table.victim))
        for table in found
    )
    raised = [
        (table.victim, table.budget, row.defense, flag)
        for table in found
        for row in (*table.rows, *table.unranked)
        for flag in row.flags
    ]
    flagged = [entry for entry in raised if entry[-1].direction.serious]
    heading = meta.matrix(first.benchmark, first.matrix)
    what = {label: meta.summaries[ref] for label, ref in modules.items() if ref in meta.summaries}
    data = heading.data or about.recorded_data(ran)
    what |= orders_of(planned)
    families = families_of(planned, modules, meta.families)
    return MatrixPage(
        benchmark=first.benchmark,
        matrix=first.matrix,
        task=first.task,
        threat=threat,
        path=f"{slug(first.benchmark)}/{slug(first.matrix)}",
        heading=heading,
        brief=about.brief(found[0], data, meta.cards, families),
        facts=about.facts(
            threat,
            heading,
            meta.benchmark(first.benchmark),
            found,
            ran,
            meta.cards,
            victims=what,
            families=families,
        ),
        samples=meta.samples(data.get("student", "")) if ran else None,
        undefended=frozenset(line.defense for line in planned if line.defense_control),
        boards=drawn,
        budgets=budgets,
        victims=victims,
        counts=counts,
        bar=tuple(figures.status_bar(counts)),
        measured=max((table.measured for table in found if table.measured), default=None),
        contained=not own,
        mixed=0 < own < sum(line.contained or line.self_reported for line in ran),
        self_reported=own,
        empty=not ran and not any(line.withdrawn for line in planned),
        reasons=_reasons(planned),
        flags=tuple({flag.name: flag for *_, flag in flagged}.values()),
        caveats=frozenset(
            caveat.name
            for table in found
            for row in (*table.rows, *table.unranked)
            for caveat in row.caveats
        ),
        raised=tuple(dict.fromkeys(flag.name for *_, flag in raised if flag.name not in SIGNS)),
        flagged=len({(*place, flag.attack) for *place, flag in flagged}),
        checked=check_states(ran),
        what=what,
        planned=tuple(planned),
        curves=tuple(curves.curves(found)),
        distances=tuple(distances.distances(planned)),
        amounts=levels,
        flips=tuple(flips.flips(planned)),
        attention=tuple(attention(planned)),
    )


def _reasons(planned: Iterable[CellRow]) -> tuple[str, ...]:
    """Return why cells have no result, each reason once, the most frequent first."""
    counts = Counter(
        line.why or STATUSES[line.status].meaning for line in planned if line.status != "ok"
    )
    return tuple(reason for reason, _ in counts.most_common(6))


def cell_pages(page: MatrixPage) -> list[CellPage]:
    """Return the pages of a matrix's cells, one for each defence × attack × victim.

    A matrix that was never run has none.
    """
    if page.empty:
        return []
    found: dict[tuple[str, str, str], dict[str, list[CellRow]]] = {}
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
            seeds = tuple(sorted(budgets[budget], key=lambda line: line.seed))
            sections.append(_section(anchors[budget], cell, row, table, seeds))
        path = cell_path(victim, defense, attack)
        made.append(CellPage(page, defense, attack, victim, path, tuple(sections)))
    return made


def _section(
    name: str, cell: TableCell, row: Row, table: Table, seeds: tuple[CellRow, ...]
) -> Section:
    classes = classes_of(seeds) if table.task == "segmentation" else None
    return Section(
        anchor=name,
        cell=cell,
        row=row,
        table=table,
        lines=seeds,
        changes=changes(seeds),
        health=health(seeds),
        handed=handed(seeds),
        classes=classes,
        moves=class_plots.heat_map(classes) if classes else None,
        largest=largest_moves(classes) if classes else (),
        shares=class_plots.share_plot(classes) if classes else None,
        iou_drop=tuple(findings.iou_drop(classes, decimals(n=table.examples))) if classes else (),
        prediction_changes=tuple(findings.prediction_changes(classes)) if classes else (),
        drop_correlation=tuple(findings.drop_correlation(classes)) if classes else (),
    )
