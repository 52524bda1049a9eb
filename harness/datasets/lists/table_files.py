"""Files of a source that the tables of a layout name: found, read, joined and digested."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from harness.common.errors import UserError
from harness.config.dataset_layouts import Table, Tables
from harness.datasets.examples import Source
from harness.datasets.files.mat_files import read_mat_table
from harness.datasets.files.source_files import SourceFile, find_files
from harness.datasets.lists.listed_rows import Rows, append_rows, join_rows
from harness.datasets.lists.tables import LARGEST, read_text_table
from harness.datasets.stored import file_sha256
from harness.datasets.templates import Match, Templates


@dataclass
class Lists:
    """What a source has of a layout's lists.

    Attributes:
        tables: files of each table, by name.
        names: name of every other file → how many files have it.
    """

    tables: list[list[tuple[SourceFile, Match]]]
    names: Counter[str] = field(default_factory=Counter)


def find_lists(layout: Tables, source: Source) -> Lists | None:
    """Find the files of each table, and the names of all others; ``None``: not all are there."""
    templates = [
        [Templates([file, f"{file}.gz"], layout, endings=()) for file in table.file]
        for table in layout.tables
    ]
    every = [one for alternatives in templates for one in alternatives]
    names: Counter[str] = Counter()

    def wanted(name: str) -> bool:
        if any(one.match(name) for one in every):
            return True
        names[every[0].strip(name)] += 1
        return False

    files = list(find_files(source.folder, None, wanted, LARGEST, source.mistakes))
    tables = []
    for alternatives in templates:
        found = [_matches(files, one, source) for one in alternatives]
        tables.append(next((some for some in found if some), []))
    joined = [_joins(table) for table in layout.tables]
    have = [table.file[0] for table, some in zip(layout.tables, tables, strict=True) if some]
    whole = bool(have)
    for table, some, needed in zip(layout.tables, tables, joined, strict=True):
        if have and needed and not some:
            what = f"has no {' or '.join(table.file)}"
            source.mistakes.add(UserError(str(source.folder), what, f"put it beside {have[0]}"))
            whole = False
    return Lists(tables, names) if whole else None


def _matches(
    files: Collection[SourceFile], templates: Templates, source: Source
) -> list[tuple[SourceFile, Match]]:
    """Return the files that a template names, sorted by name, each name once."""
    found: dict[str, tuple[SourceFile, Match]] = {}
    for file in files:
        match = templates.match(file.name)
        if match is None:
            continue
        if match.name in found:
            what = f"is also {found[match.name][0].where}"
            source.mistakes.add(UserError(file.where, what, "leave one of them"))
        found[match.name] = file, match
    return [found[name] for name in sorted(found)]


def _joins(table: Table) -> bool:
    """Return whether the rows of a table are joined with those of others by an id."""
    return "id" in table.fields() or table.file[0].lower().endswith(".mat")


def read_lists(layout: Tables, lists: Lists, source: Source) -> Rows | None:
    """Read all lists; the joined ones are one. ``None``: one cannot be read at all."""
    parts: dict[bool, list[Rows]] = {True: [], False: []}
    whole = True
    for table, found in zip(layout.tables, lists.tables, strict=True):
        for file, match in found:
            is_mat = match.name.lower().endswith(".mat")
            read = read_mat_table if is_mat else read_text_table
            rows = read(file, match, table, layout, source.mistakes)
            whole = whole and rows is not None
            if rows is not None and len(rows):
                parts[_joins(table)].append(rows)
    if not whole:
        return None
    joined = [join_rows(parts[True], source.mistakes)] if parts[True] else []
    return append_rows([*joined, *parts[False]])


def list_digests(layout: Tables, lists: Lists) -> dict[str, str]:
    """Return list, as its table calls it → SHA-256 of its file, or of those of all its files."""
    digests: dict[str, str] = {}
    for table, found in zip(layout.tables, lists.tables, strict=True):
        lines = [f"{match.name} {_digest(file)}\n" for file, match in found]
        if lines:
            whole = hashlib.sha256("".join(lines).encode()).hexdigest()
            digests[table.file[0]] = whole if len(lines) > 1 else lines[0].split()[-1]
    return digests


def _digest(file: SourceFile) -> str:
    """Return the SHA-256 of a list."""
    if isinstance(file.content, Path):
        return file_sha256(file.content)
    return hashlib.sha256(file.content).hexdigest()
