"""``gauntlet report``: build the pages and print the first rows of each table."""

from __future__ import annotations

import webbrowser
from collections import Counter
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid

import harness
from harness.commands.data_samples import data_cards, load_samples
from harness.commands.picture_loader import make_loader
from harness.commands.run import print_ignored
from harness.config.attack_family import attack_family
from harness.config.benchmark import Benchmark, Matrix
from harness.report import frame, leaderboard
from harness.report.selection import plans
from harness.report.site import render
from harness.report.site.about import Heading
from harness.report.site.views import SiteMeta
from harness.report.tables import Row, Table
from harness.report.worst_case import Estimate
from harness.results import records
from harness.results.checks import Checks
from harness.workspace import Workspace

FIRST_ROWS = 4


def report(workspace: Workspace, *, open_: bool, console: Console) -> Path:
    """Build ``reports/site`` from all plans and records and this machine's store.

    Only the pictures of segmentation cells come from the store; it may be missing.
    """
    benchmarks = workspace.benchmarks()
    roots = (workspace.local_records, workspace.published_records)
    found, broken = records.load_all(*roots)
    print_ignored(broken, console)
    planned = list(plans(workspace, benchmarks, found))
    rows = frame.build(
        planned,
        found,
        records.withdrawals(*roots),
        Checks(workspace.checks),
    )
    modules = workspace.catalog.modules.values()
    meta = SiteMeta(
        version=harness.__version__,
        benchmarks={b.name: heading(b) for b in benchmarks},
        matrices={(b.name, m.name): heading(m) for b in benchmarks for m in b.matrices},
        cards=data_cards(),
        samples=partial(load_samples, workspace.data),
        summaries={m.ref: m.manifest.summary for m in modules},
        families={m.ref: attack_family(m.manifest) for m in modules if m.manifest.kind == "attack"},
    )
    page = render.build(rows, workspace.site, meta, make_loader(workspace))
    empty: Counter[str] = Counter()
    for table in leaderboard.tables(rows):
        if table.counts.get("ok"):
            console.print(make_grid(table))
        else:
            empty[table.benchmark] += sum(table.counts.values())
    for name, count in empty.items():
        text = f"{name}: {count} cells without a result; see gauntlet plan {name}, or the page"
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    console.print(f"Leaderboard: {page}", soft_wrap=True, highlight=False)
    if open_:
        webbrowser.open(page.resolve().as_uri())
    return page


def heading(words: Benchmark | Matrix) -> Heading:
    """Return what a benchmark or a matrix says of itself."""
    return Heading(
        title=words.title,
        question=words.question,
        out_of_scope=words.out_of_scope or "",
        summary=(words.summary or "") if isinstance(words, Benchmark) else "",
        data={} if isinstance(words, Benchmark) else {r: d.name for r, d in words.data.items()},
    )


def make_grid(table: Table) -> Grid:
    """Make a terminal table of the first rows of a leaderboard table."""
    rows = [*table.rows, *table.unranked]
    title = f"{table.benchmark}/{table.matrix} · {table.victim} · {table.budget}"
    title += f" · {table.goal}" if table.headline.targeted else ""
    made = Grid(title=title, title_justify="left", caption_justify="left")
    for name in ("place", "defence"):
        made.add_column(name)
    beside = (table.headline.untargeted_title,) if table.headline.targeted else ()
    for name in (table.headline.title, "95 %", *beside, "clean", "strongest attack", "attacks"):
        made.add_column(name, justify="right")
    for row in rows[:FIRST_ROWS]:
        made.add_row(*format_row(row, table))
    notes = [format_caveats(table)]
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
    bound = {"upper": "≤ ", "lower": "≥ "}.get(row.bound, "")
    return (
        row.place,
        row.defense,
        bound + format_percent(row.score),
        format_interval(row.score),
        *((format_percent(row.untargeted),) if table.headline.targeted else ()),
        format_percent(row.clean),
        row.strongest or ("open" if row.gaps else "–"),
        f"{row.covered}/{row.applicable}",
    )


def format_percent(estimate: Estimate | None) -> str:
    """Format a fraction in per cent with one decimal; an en dash where there is none."""
    return "–" if estimate is None else f"{100 * estimate.value:.1f}"


def format_interval(estimate: Estimate | None) -> str:
    """Format a confidence interval in per cent; empty where there is none."""
    if estimate is None or estimate.lo is None or estimate.hi is None:
        return ""
    return f"{100 * estimate.lo:.1f}–{100 * estimate.hi:.1f}"
