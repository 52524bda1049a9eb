"""``gauntlet clean``: remove artefacts that no benchmark's plan needs any more."""

from __future__ import annotations

import shutil

from rich.console import Console

from harness.workspace import Workspace


def clean(workspace: Workspace, *, everything: bool, console: Console) -> None:
    """Remove what today's plans do not name: old modules' artefacts, leftovers of killed runs.

    Records are never touched. With ``everything``, the whole store goes.
    """
    store = workspace.store()
    needed: set[str] = set()
    passing: set[tuple[str, str]] = set()
    if not everything:
        for benchmark in workspace.benchmarks():
            for stage in workspace.plan(benchmark).graph.stages.values():
                needed.add(stage.key)
                if stage.passing:
                    passing.add((stage.key, stage.passing))
    freed = dropped = 0
    for key in list(store.keys()):
        if key not in needed:
            freed += store.size(key)
            store.drop(key)
            dropped += 1
    for key, part in passing:
        folder = store.part(key, part)
        if folder.is_dir() and store.has(key, part):
            freed += sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
            store.remove_part(key, part)
    for leftover in (store.aside, workspace.home / "checkpoints"):
        for path in leftover.glob("*"):
            if path.name not in needed:
                freed += sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
                shutil.rmtree(path, ignore_errors=True)
    console.print(f"{dropped} entries removed, {freed / 1e6:.1f} MB freed", highlight=False)
