"""``gauntlet new``: write a module's folder that passes ``check``."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness.common.errors import UserError
from harness.config.catalog import FOLDERS
from harness.config.field_types import NAME
from harness.workspace import Workspace

SCAFFOLD = Path(__file__).resolve().parents[1] / "scaffold"


def new(
    workspace: Workspace,
    kind: str,
    name: str,
    console: Console,
    weights: Sequence[Path] = (),
) -> None:
    """Write ``<kind>s/<name>/`` from the scaffold.

    Args:
        workspace: the checkout.
        kind: kind of module.
        name: name of the module.
        console: shows what was written.
        weights: files of weights that a victim is to have.

    Raises:
        UserError: no such kind, not a valid name, the folder exists, or unreadable weights.
    """
    if kind not in FOLDERS:
        raise UserError("new", f"no kind {kind!r}", f"use one of {', '.join(FOLDERS)}")
    if not re.fullmatch(NAME, name):
        fix = "use at most 41 of a-z, 0-9, _ and -, beginning with a letter or digit"
        raise UserError("new", f"{name!r} is not a valid module name", fix)
    folder = workspace.root / FOLDERS[kind] / name
    if folder.exists():
        raise UserError(str(folder), "exists already", "choose another name, or remove the folder")
    if weights and kind != "victim":
        raise UserError("new", f"weights for kind {kind}", "leave out --weights; victims have them")
    trained = None
    if weights:
        from harness.commands import new_victim  # imports torch

        trained = new_victim.read(weights)
    source = SCAFFOLD / (trained.scaffold if trained else kind)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.iterdir():
        path.write_text(path.read_text(encoding="utf-8").replace("NAME", name), encoding="utf-8")
    if trained:
        new_victim.fill(workspace, folder, trained, console)
    short = folder.relative_to(workspace.root)
    console.print(f"{short}: written. Next: gauntlet check {short}", highlight=False)
