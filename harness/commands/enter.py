"""``gauntlet enter``: write a module into the matrices of benchmarks."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from harness.common.errors import UserError
from harness.common.files import write_text
from harness.config.benchmark import Benchmark, find_benchmark
from harness.config.catalog import FOLDERS
from harness.config.strict_yaml import Document, parse
from harness.planning.added_entries import Added, fitting, has_entry, not_taken
from harness.workspace import Workspace

KINDS = {name: kind for kind, folder in FOLDERS.items() for name in (kind, folder)}
"""Kind of a module, or its folder → the kind."""


def enter(workspace: Workspace, text: str, benches: list[str], console: Console) -> None:
    """Write a module into every matrix that it is meant for; comments and order stay.

    Args:
        workspace: the checkout.
        text: ``KIND/NAME`` or ``KIND/NAME/VARIANT``; the kind may be the folder's name.
        benches: names or paths of benchmarks.
        console: says what was written.

    Raises:
        UserError: no such module or benchmark, or no matrix of it takes the module.
    """
    added = _read(text)
    for name in benches:
        written = _enter(workspace, added, name)
        label = added.entry.label
        if written:
            console.print(f"{name}: {label} is in {', '.join(written)} now", highlight=False)
        else:
            console.print(f"{name}: {label} was there already", highlight=False)
    command = f"gauntlet run {benches[0]} --only {added.kind}={added.entry.label}"
    console.print(f"Next: {command}", highlight=False, soft_wrap=True)


def _read(text: str) -> Added:
    folder, _, name = text.strip("/").partition("/")
    if folder not in KINDS or not name:
        fix = f"write KIND/NAME, with one of {', '.join(FOLDERS)}"
        raise UserError(text, "no kind and name of a module", fix)
    return Added.parse(f"{KINDS[folder]}={name}", text)


def _enter(workspace: Workspace, added: Added, name: str) -> list[str]:
    """Write a module into a benchmark's file, and return the matrices that have it now."""
    benchmark = workspace.benchmark(name)
    path = find_benchmark(name, workspace.root)
    places = fitting(benchmark, added, workspace.catalog, workspace.datasets)
    if not places:
        raise not_taken(str(path), added, workspace.catalog)
    new = [i for i in places if not has_entry(benchmark.matrices[i], added)]
    if new:
        _write(path, _with_entry(path, added, benchmark, new), workspace, name)
    return [benchmark.matrices[i].name for i in new]


def _with_entry(path: Path, added: Added, benchmark: Benchmark, matrices: list[int]) -> str:
    """Return a file's text with the module before the last entry of the lists of some matrices."""
    document = parse(path).document
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    key = FOLDERS[added.kind]
    for i in reversed(matrices):
        last = len(getattr(benchmark.matrices[i], key)) - 1
        _insert(lines, document, ("matrices", i, key, last), added.entry.label)
    return "".join(lines)


def _insert(lines: list[str], document: Document, loc: tuple[str | int, ...], word: str) -> None:
    line, column = (number - 1 for number in document.marks.at(loc))
    before, after = lines[line][:column], lines[line][column:]
    if before.strip() == "-":
        lines.insert(line, f"{before}{word}\n")
    else:
        lines[line] = f"{before}{word}, {after}"


def _write(path: Path, text: str, workspace: Workspace, name: str) -> None:
    """Replace a benchmark's file; the old one stays if the new one cannot be read."""
    old = path.read_text(encoding="utf-8")
    write_text(path, text)
    try:
        workspace.benchmark(name)
    except UserError:
        write_text(path, old)
        raise
