"""``gauntlet report``: build the pages and print the first rows of each table."""

from __future__ import annotations

import webbrowser
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid

import harness
from harness.commands.attention_loader import make_attention_loader
from harness.commands.curve_loader import make_curve_loader
from harness.commands.data_samples import data_cards, load_samples
from harness.commands.picture_loader import make_loader
from harness.commands.run import print_ignored
from harness.common.errors import UserError
from harness.common.text import suggest
from harness.config.attack_family import attack_family
from harness.config.benchmark import Benchmark, Matrix
from harness.config.data_entry import family_of
from harness.report import frame, leaderboard
from harness.report.selection import plans
from harness.report.site import format, render
from harness.report.site.about import DataCard, Heading
from harness.report.site.views import SiteMeta
from harness.report.tables import Row, Table, TableCell
from harness.report.worst_case import Estimate
from harness.results import record_tree
from harness.results.checks import Checks
from harness.results.records import Record
from harness.workspace import Workspace

FIRST_ROWS = 4
HINT = "One attack against every defence: gauntlet report --attack NAME"


def report(
    workspace: Workspace,
    *,
    open_: bool,
    console: Console,
    attack: str | None = None,
    added: Sequence[str] = (),
) -> Path:
    """Build ``reports/site`` from all plans and records and this machine's store.

    Only pictures and training curves come from the store; it may be missing.

    Args:
        workspace: the checkout.
        open_: whether to open the page in a browser.
        console: shows the tables.
        attack: name of the one attack whose figures are printed, of every defence, in place of the
            first rows.
        added: modules that are put into the matrices that fit, each as ``KIND=NAME``.

    Raises:
        UserError: no table has this attack.
    """
    benchmarks = workspace.benchmarks(added)
    roots = (workspace.local_records, workspace.published_records)
    found, broken = record_tree.load_all(*roots)
    print_ignored(broken, console)
    planned = list(plans(workspace, benchmarks, found))
    rows = frame.build(
        planned,
        found,
        record_tree.withdrawals(*roots),
        Checks(workspace.checks),
    )
    modules = workspace.catalog.modules.values()
    cards = data_cards(workspace.datasets_of(benchmarks))
    meta = SiteMeta(
        version=harness.__version__,
        benchmarks={b.name: heading(b, cards) for b in benchmarks},
        matrices={(b.name, m.name): heading(m, cards) for b in benchmarks for m in b.planned},
        cards=cards,
        samples=partial(load_samples, workspace.data),
        summaries={m.ref: m.manifest.summary for m in modules},
        families={m.ref: attack_family(m.manifest) for m in modules if m.manifest.kind == "attack"},
    )
    tables = leaderboard.tables(rows)  # first, as an unknown attack must not wait for the pages
    grids = list(make_grids(tables) if attack is None else make_attack_grids(tables, attack))
    page = render.build(
        rows,
        workspace.site,
        meta,
        make_loader(workspace),
        make_attention_loader(workspace),
        make_curve_loader(workspace),
    )
    for grid in grids:
        console.print(grid)
    if attack is None:
        for line in (*empty_lines(tables), *pageless_lines(found, benchmarks), HINT):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(f"Leaderboard: {page}", soft_wrap=True, highlight=False)
    if open_:
        webbrowser.open(page.resolve().as_uri())
    return page


def heading(words: Benchmark | Matrix, cards: Mapping[str, DataCard]) -> Heading:
    """Return what a benchmark or a matrix says of itself.

    Args:
        words: the benchmark, or a matrix that it plans.
        cards: name of a data set → what pages say of it.
    """
    entries = [] if isinstance(words, Benchmark) else words.data.items()
    used = {entry.name: entry.amount for _, entry in entries if entry.amount}
    return Heading(
        title=words.title,
        question=words.question,
        out_of_scope=words.out_of_scope or "",
        summary=(words.summary or "") if isinstance(words, Benchmark) else "",
        data={str(role): entry.name for role, entry in entries},
        examples=level_size(words, cards) if isinstance(words, Matrix) else None,
        training=", ".join(f"{name}: {amount}" for name, amount in used.items()),
    )


def level_size(matrix: Matrix, cards: Mapping[str, DataCard]) -> int | None:
    """Return the number of training examples of a level; ``None`` where it is none, or unknown."""
    entry = matrix.data["student"]
    if family_of(matrix.name) == matrix.name or entry.name not in cards:
        return None
    return entry.count(cards[entry.name].train, cards[entry.name].outputs)


def make_grids(tables: Sequence[Table]) -> Iterator[Grid]:
    """Make a terminal table of each leaderboard table with a result."""
    return (make_grid(table) for table in tables if table.counts.get("ok"))


def empty_lines(tables: Sequence[Table]) -> Iterator[str]:
    """Yield what has no result.

    Of a benchmark that was run in part, that is the number of cells in its other tables; those of
    which nothing was run are named in one line.
    """
    empty: Counter[str] = Counter()
    for table in tables:
        if not table.counts.get("ok"):
            empty[table.benchmark] += sum(table.counts.values())
    begun = {table.benchmark for table in tables if table.counts.get("ok")}
    for name, count in empty.items():
        if name in begun:
            yield f"{name}: {count} cells without a result; see gauntlet plan {name}, or the page"
    if idle := [name for name in empty if name not in begun]:
        yield f"Without any result: {', '.join(idle)}; see gauntlet plan NAME, or the page"


def pageless_lines(found: Iterable[Record], benchmarks: Iterable[Benchmark]) -> Iterator[str]:
    """Yield the benchmarks that have records and no page, as their folder lies elsewhere."""
    names = {record.cell.benchmark for record in found} - {one.name for one in benchmarks}
    if names:
        yield f"Without a page: {', '.join(sorted(names))}; put its folder into benchmarks/"


def make_attack_grids(tables: Sequence[Table], attack: str) -> Iterator[Grid]:
    """Make a terminal table of one attack, in all its variants, for each table that plans it.

    Raises:
        UserError: none does.
    """
    found = [(table, cells) for table in tables if (cells := list(cells_of(table, attack)))]
    if not found:
        known = sorted({column.name.partition("/")[0] for t in tables for column in t.attacks})
        raise UserError("--attack", f"no benchmark plans {attack!r}", suggest(attack, known))
    for table, cells in found:
        made = Grid(title=title_of(table), title_justify="left")
        for name in ("attack", "defence"):
            made.add_column(name, overflow="fold")
        add_figures(made, figure_title(table), "95\u00a0%", "worst case", "clean")
        made.add_column("says")
        for row, cell in cells:
            made.add_row(*format_cell(row, cell, table))
        yield made


def cells_of(table: Table, attack: str) -> Iterator[tuple[Row, TableCell]]:
    """Yield the cells of an attack and its variants, by attack, then as the defences are ranked.

    Borrowed inputs that are a defence's own, or that it cannot meet, are left out.
    """
    for column in table.attacks:
        if attack in (column.name, column.name.partition("/")[0]):
            for row in (*table.rows, *table.unranked):
                for cell in row.cells:
                    skipped = cell.made_against and cell.status == "not_applicable"
                    if cell.attack == column.attack and not skipped:
                        yield row, cell


def format_cell(row: Row, cell: TableCell, table: Table) -> tuple[str, ...]:
    """Format a cell, one text a column; where there is no figure, the last says why."""
    notes = [flag.name for flag in cell.flags]
    if cell.strongest:
        notes.insert(0, "strongest attack")
    if cell.score is None:
        notes.insert(0, f"{cell.word}: {cell.reason}" if cell.reason else cell.word)
    worst, _ = format_figure(row.score, row.distance, table, row.mark)
    return (
        cell.attack,
        row.defense,
        *format_figure(cell.score, cell.distance, table),
        worst,
        format_percent(cell.clean),
        "; ".join(notes),
    )


def title_of(table: Table) -> str:
    """Return the title of a terminal table."""
    title = f"{table.benchmark}/{table.matrix} · {table.victim} · {table.budget}"
    return title + (f" · {table.goal}" if table.headline.targeted else "")


def add_figures(grid: Grid, *titles: str) -> None:
    """Add columns of figures: in a narrow terminal names are broken, figures never."""
    for title in titles:
        grid.add_column(title.replace(" ", "\n"), justify="right", no_wrap=True)


def make_grid(table: Table) -> Grid:
    """Make a terminal table of the first rows of a leaderboard table."""
    rows = [*table.rows, *table.unranked]
    made = Grid(title=title_of(table), title_justify="left", caption_justify="left")
    beside = (table.headline.untargeted_title,) if table.headline.targeted else ()
    made.add_column("place", no_wrap=True)
    made.add_column("defence", overflow="fold")
    add_figures(made, figure_title(table), "95\u00a0%", *beside, "clean")
    made.add_column("strongest attack", justify="right", overflow="fold")
    add_figures(made, "attacks")
    for row in rows[:FIRST_ROWS]:
        made.add_row(*format_row(row, table))
    proven = [
        f"{row.defense}: {row.proven.text}" for row in rows if row.proven and row.proven.bound
    ]
    certified = [f"{row.defense}: {row.certified_text}" for row in rows if row.certified_text]
    notes = [format_caveats(table), *proven, *certified]
    if len(rows) > FIRST_ROWS:
        notes.append(f"and {len(rows) - FIRST_ROWS} more on the page")
    made.caption = "\n".join(filter(None, notes)) or None
    return made


def format_caveats(table: Table) -> str:
    """Format the caveats of a table's rows: each with the defences that it holds for."""
    rows = [*table.rows, *table.unranked]
    found: dict[str, list[str]] = {}
    for row in rows:
        for caveat in row.caveats:
            found.setdefault(caveat.name, []).append(row.defense)
    return "; ".join(
        name if len(names) == len(rows) else f"{name}: {', '.join(names)}"
        for name, names in found.items()
    )


def format_row(row: Row, table: Table) -> tuple[str, ...]:
    """Format a row, one text a column."""
    return (
        row.place,
        row.defense,
        *format_figure(row.score, row.distance, table, row.mark),
        *((format_percent(row.untargeted),) if table.headline.targeted else ()),
        format_percent(row.clean),
        row.strongest or ("open" if row.gaps else "–"),
        f"{row.covered}/{row.applicable}",
    )


def format_percent(estimate: Estimate | None) -> str:
    """Format a fraction in per cent with one decimal; an en dash where there is none."""
    return "–" if estimate is None else f"{100 * estimate.value:.1f}"


def figure_title(table: Table) -> str:
    """Return the title of a table's figure: distances where they are the result."""
    return "Distance" if table.minimal else table.headline.title


def format_figure(
    score: Estimate | None, distance: Estimate | None, table: Table, mark: str = ""
) -> tuple[str, str]:
    """Format a table's figure and its interval; a distance is an upper bound.

    Args:
        score: the headline figure.
        distance: the median distance.
        table: the table, which decides between the two.
        mark: what stands before a score that is a bound.
    """
    if not table.minimal:
        return (mark if score else "") + format_percent(score), format_interval(score)
    if distance is None:
        return "–", ""
    norm = table.limits["norm"]
    value = format.distance(distance.value, norm)
    return f"≤ {value}", format.distance_interval(distance.lo, distance.hi, norm)


def format_interval(estimate: Estimate | None) -> str:
    """Format a confidence interval in per cent; empty where there is none."""
    if estimate is None or estimate.lo is None or estimate.hi is None:
        return ""
    return f"{100 * estimate.lo:.1f}–{100 * estimate.hi:.1f}"
