"""``gauntlet clean``: remove artefacts that no benchmark's plan needs any more."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

from rich.console import Console

from harness.common.errors import UserError
from harness.common.files import remove_tree
from harness.planning.graph import Stage
from harness.workspace import Workspace


def clean(workspace: Workspace, *, everything: bool, console: Console) -> None:
    """Remove artefacts that no current plan names, and leftovers of killed runs.

    On an engine, what killed image builds left goes, too. Records are never touched. With
    ``everything``, the whole store is emptied.
    """
    store = workspace.store()
    stages = {} if everything else plan_stages(workspace)
    before = measure_folder(workspace.home)
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
    sweep_engine()
    freed = before - measure_folder(workspace.home)
    console.print(f"{len(dropped)} entries removed, {freed / 1e6:.1f} MB freed", highlight=False)


def sweep_engine() -> None:
    """Remove what image builds of dead harnesses left, where an engine answers."""
    from harness.executors.images import Images

    with suppress(UserError), closing(Images.connect()) as engine:
        engine.sweep()


def plan_stages(workspace: Workspace) -> dict[str, Stage]:
    """Plan every benchmark of the checkout; return all stages by key."""
    return {
        key: stage
        for benchmark in workspace.benchmarks()
        for key, stage in workspace.plan(benchmark).graph.stages.items()
    }


def measure_folder(folder: Path) -> int:
    """Sum the sizes of all files below a folder, in bytes; one of several names counts once."""
    found = (path.stat() for path in folder.rglob("*") if path.is_file())
    return sum({(one.st_dev, one.st_ino): one.st_size for one in found}.values())
