"""``gauntlet new``: write a module's folder that passes ``check``."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from rich.console import Console

from harness.common.errors import UserError
from harness.config.catalog import FOLDERS
from harness.workspace import Workspace

SCAFFOLD = Path(__file__).resolve().parents[1] / "scaffold"


def new(workspace: Workspace, kind: str, name: str, console: Console) -> None:
    """Write ``<kind>s/<name>/`` from the scaffold.

    Raises:
        UserError: no such kind, not a valid name, or the folder exists.
    """
    if kind not in FOLDERS:
        raise UserError("new", f"no kind {kind!r}", f"use one of {', '.join(FOLDERS)}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", name):
        fix = "use at most 41 of a-z, 0-9, _ and -, beginning with a letter or digit"
        raise UserError("new", f"{name!r} is not a valid module name", fix)
    folder = workspace.root / FOLDERS[kind] / name
    if folder.exists():
        raise UserError(str(folder), "exists already", "choose another name, or remove the folder")
    shutil.copytree(SCAFFOLD / kind, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.iterdir():
        path.write_text(path.read_text(encoding="utf-8").replace("NAME", name), encoding="utf-8")
    short = folder.relative_to(workspace.root)
    console.print(f"{short}: written. Next: gauntlet check {short}", highlight=False)
