"""``gauntlet clean``: remove artefacts that no benchmark's plan needs any more."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from harness.common.files import remove_tree
from harness.planning.graph import Stage
from harness.workspace import Workspace


def clean(workspace: Workspace, *, everything: bool, console: Console) -> None:
    """Remove what today's plans do not name: old modules' artefacts, leftovers of killed runs.

    Records are never touched. With ``everything``, the whole store goes.
    """
    store = workspace.store()
    stages = {} if everything else planned_stages(workspace)
    before = size_below(workspace.home)
    dropped = [key for key in store.entries() if key not in stages]
    for key in dropped:
        store.drop(key)
    for key, stage in stages.items():
        if stage.intermediate:
            store.remove_part(key, stage.intermediate)
    for folder in (store.aside, workspace.home / "checkpoints"):
        for path in folder.glob("*"):
            if path.name not in stages:
                remove_tree(path)
    freed = before - size_below(workspace.home)
    console.print(f"{len(dropped)} entries removed, {freed / 1e6:.1f} MB freed", highlight=False)


def planned_stages(workspace: Workspace) -> dict[str, Stage]:
    """Every stage that a benchmark of the checkout plans today."""
    return {
        key: stage
        for benchmark in workspace.benchmarks()
        for key, stage in workspace.plan(benchmark).graph.stages.items()
    }


def size_below(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
