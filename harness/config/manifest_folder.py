"""Mistakes of a manifest that its folder shows: name, kind, and the files that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from posixpath import normpath

from harness.config.file_model import Problem
from harness.config.manifest_parts import KINDS_OF_REQUIREMENT, NO_FILE, Param
from harness.config.module_files import module_files
from harness.config.strict_yaml import Document, Loc, quote
from harness.config.validation import name_problems


def folder_problems(document: Document) -> Iterator[Problem]:
    """Check the folder's name, the folder around it, and the entry's file."""
    folder = document.path.resolve().parent
    yield from name_problems(document, folder.name)
    data = document.data
    assert isinstance(data, dict)
    kind, entry = data.get("kind"), data.get("entry")
    expected = folder.parent.name.removesuffix("s")
    kinds = tuple(KINDS_OF_REQUIREMENT)
    if kind in kinds and expected in kinds and kind != expected:
        what = f"expected {expected} in {folder.parent.name}/, found {kind}"
        yield Problem(("kind",), what, f"move the folder to {kind}s/")
    file = str(entry).partition(":")[0]
    if isinstance(entry, str) and ".." not in entry and file.endswith(".py"):
        target = (folder / file).resolve()
        if not target.is_file():
            yield Problem(("entry",), f"there is no {quote(file)} in the folder", "write it")
        elif not target.is_relative_to(folder):
            yield Problem(("entry",), f"{quote(file)} is outside the folder", "copy it here")


def own_file_problems(
    folder: Path, params: Mapping[str, Param], presets: Mapping[Loc, Mapping[str, object]]
) -> Iterator[Problem]:
    """Check that the paths that a manifest gives to its parameters name files of its folder.

    Only those count that the module's digest covers; the folder has no links.

    Args:
        folder: folder of the module.
        params: parameters of the module.
        presets: values that the manifest gives them beside their defaults, by key path.
    """
    files = [name for name, one in params.items() if one.type == "file"]
    named: dict[Loc, object] = {("params", n, "default"): params[n].default for n in files}
    for loc, values in presets.items():
        named |= {(*loc, name): values[name] for name in files if name in values}
    if all(value == NO_FILE for value in named.values()):
        return
    inside = [path.relative_to(folder) for path in module_files(folder)]
    known = {str(place) for file in inside for place in (file, *file.parents)} - {"."}
    for loc, value in named.items():
        if value != NO_FILE and normpath(str(value)) not in known:
            what = f"there is no {quote(value)} among the files of the folder that decide results"
            yield Problem(loc, what, "put it into the module's folder, or let benchmarks name it")
