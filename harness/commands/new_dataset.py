"""``gauntlet new dataset``: write a data set's manifest from what a folder looks like."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.commands.placeholders import PLACEHOLDER
from harness.common.errors import UserError, UserErrors
from harness.common.text import escape
from harness.config.dataset import FOLDER, load_dataset
from harness.config.dataset_layouts import LayoutEntry
from harness.config.field_types import NAME
from harness.datasets.files.archives import is_archive
from harness.datasets.guesses import Guess, Survey, guess, survey
from harness.workspace import Workspace

WIDTH = 88
"""Longest line of a mapping or a list that is written in one line."""


def new_dataset(
    workspace: Workspace, name: str, source: Path | None, out: Path | None, console: Console
) -> None:
    """Write the manifest of a data set, and say what was guessed.

    Args:
        workspace: the checkout.
        name: name of the set.
        source: folder or archive with the data.
        out: file to write; ``None``: ``benchmarks/data/<name>.yaml``.
        console: shows the guesses.

    Raises:
        UserError: no source, no valid name, the file exists, or nothing is recognized.
    """
    source, path = _check_arguments(workspace, name, source, out)
    files = survey(source)
    found = guess(files)
    if found is None:
        raise _unknown(files)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(_lines(name, found, source, path)) + "\n", encoding="utf-8")
    try:
        load_dataset(path)
    except UserErrors as error:
        path.unlink()  # a folder with names that no manifest can hold
        raise error
    shown = os.path.relpath(path)
    argument = name if out is None else shown
    lines = [*found.said, f"{shown}: written; replace each {PLACEHOLDER} in its card"]
    for line in (*lines, f"Next: gauntlet check {argument}"):
        console.print(escape(line), soft_wrap=True, highlight=False, markup=False)


def _check_arguments(
    workspace: Workspace, name: str, source: Path | None, out: Path | None
) -> tuple[Path, Path]:
    """Return the source, which is there, and the file to write, which is not."""
    if source is None:
        raise UserError("new dataset", "no folder", "name the one with the data: --from DIR")
    if not re.fullmatch(NAME, name):
        fix = "use at most 41 of a-z, 0-9, _ and -, beginning with a letter or digit"
        raise UserError("new dataset", f"{name!r} is not a valid name", fix)
    if not source.exists():
        raise UserError(str(source), "there is no such folder", "name the one with the data")
    if source.is_file() and not is_archive(source.name):
        fix = f"name the folder that it is in: --from {source.parent}"
        raise UserError(str(source), "is one file, and no archive", fix)
    if out is None and name in workspace.datasets:
        raise UserError("new dataset", f"there is a data set {name}", "choose another name")
    path = out or workspace.root / FOLDER / f"{name}.yaml"
    if path.suffix != ".yaml" or path.stem != name:
        raise UserError(str(path), "is not the file of this set", f"write a path to {name}.yaml")
    if path.exists():
        raise UserError(str(path), "exists already", "choose another name, or remove the file")
    return source, path


def _unknown(files: Survey) -> UserError:
    """Return the error for a folder that no guess explains; it says what is there."""
    kinds = ", ".join(LayoutEntry.model_fields)
    what, fix = "nothing in it looks like labelled data", "name the folder with the data"
    if files.pictures:
        what = f"has {len(files.pictures):,} pictures ({files.pictures[0]}), but nothing that tells"
        what += " their classes apart"
        fix = "name the folder above it, if its name is a class"
    by_hand = f"or write the file by hand, see docs/reference/dataset.md: layouts {kinds}"
    return UserError(str(files.source), what, f"{fix}; {by_hand}")


def _lines(name: str, found: Guess, source: Path, path: Path) -> Iterator[str]:
    """Yield the lines of a manifest."""
    yield "# Written by gauntlet new dataset, which guessed what is below the card:"
    yield from (f"# - {escape(line)}" for line in found.said)
    head = {"schema": "dataset/1", "kind": "dataset", "name": name}
    card = {
        "title": f"{PLACEHOLDER}: name for people",
        "license": f"{PLACEHOLDER}: terms of the data",
        "citation": f"{PLACEHOLDER}: publication to cite",
        "source": f"{PLACEHOLDER}: where the data come from",
    }
    fields = {"task": found.task, **found.fields, "layouts": [found.layout]}
    for key, value in {**head, **card, **fields, "folder": _folder(source, path)}.items():
        yield from _block(f"{_text(key)}:", value)


def _folder(source: Path, path: Path) -> str:
    """Return the source as seen from the manifest, where both are in one place; else in full."""
    here, there = path.resolve().parent, source.resolve()
    near = there.is_relative_to(here.parent) and here.parent != Path(here.anchor)
    return os.path.relpath(there, here) if near else str(there)


def _block(start: str, value: Any) -> Iterator[str]:  # noqa: ANN401
    """Yield a key with its value: in one line if it fits, else in a block."""
    line = f"{start} {_flow(value)}"
    if len(line) <= WIDTH or not isinstance(value, dict | list) or not value:
        yield line
    elif isinstance(value, dict):
        yield start
        for key, inner in value.items():
            yield from (f"  {one}" for one in _block(f"{_text(key)}:", inner))
    else:
        yield start
        for inner in value:
            yield from _item(inner)


def _item(value: Any) -> Iterator[str]:  # noqa: ANN401
    """Yield the lines of an entry of a list."""
    if not isinstance(value, dict) or len(f"- {_flow(value)}") <= WIDTH:
        yield f"- {_flow(value)}"
        return
    lines = [line for key, inner in value.items() for line in _block(f"{_text(key)}:", inner)]
    yield from (f"{'  ' if n else '- '}{line}" for n, line in enumerate(lines))


def _flow(value: Any) -> str:  # noqa: ANN401
    """Return a value in one line."""
    match value:
        case dict():
            inner = ", ".join(f"{_text(key)}: {_flow(one)}" for key, one in value.items())
            return f"{{{inner}}}"
        case list() | tuple():
            return f"[{', '.join(map(_flow, value))}]"
        case str():
            return _text(value)
        case None:
            return "null"
        case _:
            return str(value)


def _text(value: object) -> str:
    """Return a text or a number as it is, or quoted where YAML might take it for something else."""
    if not isinstance(value, str):
        return str(value)
    plain = re.fullmatch(r"[A-Za-z][\w./-]*", value, re.ASCII)
    words = ("true", "false", "yes", "no", "on", "off", "null")
    safe = plain and value.lower() not in words
    return value if safe else json.dumps(value, ensure_ascii=False)
