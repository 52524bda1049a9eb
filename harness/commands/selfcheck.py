"""``gauntlet selfcheck``: test an executor's isolation and limits."""

from __future__ import annotations

from collections import Counter
from functools import partial

from rich.console import Console
from rich.table import Column, Table

from harness.commands.run import build_images, make_executor
from harness.common.progress import Meter
from harness.executors.selfcheck.run import CHECKS, selfcheck
from harness.storage.run_folder import RunFolder
from harness.workspace import Workspace

STYLES = {"known": "dim", "outdated": "yellow", "inconclusive": "yellow", "broken": "bold red"}
WORDS = {
    "holds": "hold",
    "known": "known exceptions",
    "outdated": "known exceptions that hold after all",
    "inconclusive": "could not be tested here",
    "broken": "BROKEN",
}


def run(workspace: Workspace, executor: str, console: Console) -> bool:
    """Test an executor, print a line for every promise, and return whether none is broken."""
    make = partial(make_executor, executor)
    build_images(executor, [None], console)
    findings = []
    folder = RunFolder(workspace.home / "work", workspace.store().aside)
    with folder as work, Meter("self-check") as meter:
        for finding in selfcheck(make, work.path):
            findings.append(finding)
            meter.update(len(findings), len(CHECKS), finding.check.name)
    name = Column("name", no_wrap=True)
    table = Table(name, "promise", "result", title=f"executor {executor}")
    for finding in findings:
        row = (finding.check.name, finding.check.promise, str(finding))
        table.add_row(*row, style=STYLES.get(finding.state))
    console.print(table, markup=False)
    counts = Counter(finding.state for finding in findings)
    said = ", ".join(f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state])
    console.print(f"{len(findings)} promises: {said}", soft_wrap=True, highlight=False)
    return not counts["broken"]
