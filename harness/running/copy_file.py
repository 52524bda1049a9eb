"""Stage that stores a benchmark's own file or folder, which a module takes as a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.common.errors import UserError
from harness.executors.mounts import copy_plain, make_readable
from harness.planning.own_files import content_digest, list_parts
from harness.planning.recipe import FileRecipe
from harness.runtime.worker.job_file import CONTENT


def copy_file(recipe: FileRecipe, inputs: Mapping[str, Path], out: Path, data_root: Path) -> None:
    """Store a file or folder as ``file/content``, read-only, under no name of its own.

    Raises:
        UserError: it was changed or removed after it was planned.
    """
    source, target = recipe.path.resolve(), out / "file" / CONTENT
    make_readable(target.parent)
    try:
        for part in list_parts(source, recipe.path.name, recipe.path.name):
            place = target / part.name if source.is_dir() else target
            make_readable(place.parent)
            copy_plain(part.folder, part.name, place)
            place.chmod(0o444)
        same = content_digest(target) == recipe.sha256
    except FileNotFoundError:
        same = False
    if not same:
        what = "was changed or removed after it was planned"
        raise UserError(recipe.path.name, what, "put it back, or run again")
