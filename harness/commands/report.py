"""``gauntlet report``: build the pages, and show the first rows of each table in the terminal."""

from __future__ import annotations

import webbrowser
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid

import harness
from harness.commands.frames import loader
from harness.commands.run import say_ignored
from harness.report import frame, leaderboard
from harness.report.selection import plans
from harness.report.site import render
from harness.report.site.views import SiteMeta
from harness.report.tables import Row, Table
from harness.report.worst_case import Estimate
from harness.results import records
from harness.workspace import Workspace

FIRST_ROWS = 4


def report(workspace: Workspace, *, open_: bool, console: Console) -> Path:
    """Build ``reports/site`` from every benchmark's plan, every record, and this machine's store.

    The store holds the pictures of segmentation cells alone; without it the pages are whole.
    """
    benchmarks = workspace.benchmarks()
    roots = (workspace.local_records, workspace.published_records)
    found, broken = records.load_all(*roots)
    say_ignored(broken, console)
    rows = frame.build(plans(workspace, benchmarks, found), found, records.withdrawals(*roots))
    modules = workspace.catalog.modules.values()
    meta = SiteMeta(
        version=harness.__version__,
        benchmarks={b.name: b.summary for b in benchmarks if b.summary},
        summaries={m.ref: m.manifest.summary for m in modules},
        approximate=frozenset(m.ref for m in modules if m.manifest.gradients == "approximate"),
    )
    page = render.build(rows, workspace.site, meta, loader(workspace))
    empty: Counter[str] = Counter()
    for table in leaderboard.tables(rows):
        if table.counts.get("ok"):
            console.print(grid(table))
        else:
            empty[table.benchmark] += sum(table.counts.values())
    for name, count in empty.items():
        text = f"{name}: {count} cells without a result; see gauntlet plan {name}, or the page"
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    console.print(f"Leaderboard: {page}", soft_wrap=True, highlight=False)
    if open_:
        webbrowser.open(page.resolve().as_uri())
    return page


def grid(table: Table) -> Grid:
    """The first rows of a leaderboard table, for a terminal."""
    rows = [*table.rows, *table.unranked]
    title = f"{table.benchmark}/{table.matrix} · {table.victim} · {table.budget}"
    title += "" if all(row.contained for row in rows) else " · self-reported where marked *"
    shown = Grid(title=title, title_justify="left")
    for name in ("rank", "defence"):
        shown.add_column(name)
    for name in (table.headline.title, "95 %", "clean", "strongest attack", "cells"):
        shown.add_column(name, justify="right")
    for row in rows[:FIRST_ROWS]:
        shown.add_row(*cells(row))
    if len(rows) > FIRST_ROWS:
        shown.caption = f"and {len(rows) - FIRST_ROWS} more on the page"
    return shown


def cells(row: Row) -> tuple[str, ...]:
    """One row's texts."""
    rank = "–" if row.rank is None else f"{row.rank}{'=' if row.tied else ''}"
    bound = {"upper": "≤ ", "lower": "≥ "}.get(row.bound, "")
    return (
        rank,
        row.defense + ("" if row.contained else " *"),
        bound + percent(row.score),
        interval(row.score),
        percent(row.clean),
        row.strongest or "open",
        f"{row.covered}/{row.applicable}",
    )


def percent(estimate: Estimate | None) -> str:
    """A fraction in per cent, one decimal; an en dash when there is none."""
    return "–" if estimate is None else f"{100 * estimate.value:.1f}"


def interval(estimate: Estimate | None) -> str:
    """An interval in per cent."""
    if estimate is None or estimate.lo is None or estimate.hi is None:
        return ""
    return f"{100 * estimate.lo:.1f}–{100 * estimate.hi:.1f}"
