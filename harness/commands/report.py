"""``gauntlet report``: build the pages, and show the first rows of each table in the terminal."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from rich.console import Console

from harness import frame, leaderboard, records
from harness.site import render
from harness.workspace import Workspace


def report(workspace: Workspace, *, open_: bool, console: Console) -> Path:
    """Build ``reports/site`` from every benchmark's plan and every record."""
    plans = [workspace.plan(benchmark) for benchmark in workspace.benchmarks()]
    found, broken = records.load_all(workspace.local_records, workspace.published_records)
    for error in broken:
        console.print(f"ignored: {error}", soft_wrap=True, style="yellow", highlight=False)
    table = frame.build(plans, found)
    page = render.build(table, workspace.site, meta(workspace, plans))
    for board in leaderboard.tables(table):
        console.print(leaderboard_rows(board))
    console.print(f"Leaderboard: {page}", soft_wrap=True, highlight=False)
    if open_:
        webbrowser.open(page.as_uri())
    return page
