"""Files of a source that the tables of a layout name: found, read, joined and digested."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import chain

from harness.common.errors import UserError
from harness.config.dataset_layouts import Table, Tables
from harness.datasets.examples import Source
from harness.datasets.files.gzipped import LARGEST, PACKED
from harness.datasets.files.source_files import find_files
from harness.datasets.lists.listed_rows import Rows, append_rows, join_rows
from harness.datasets.lists.mat_tables import read_mat_table
from harness.datasets.lists.row_reader import ListFile
from harness.datasets.lists.text_tables import read_text_table
from harness.datasets.templates import Templates
from harness.datasets.walk import match_once


@dataclass
class Lists:
    """What a source has of a layout's lists.

    Attributes:
        tables: files of each table, by name.
        names: name of every other file → how many files have it.
    """

    tables: list[list[ListFile]]
    names: Counter[str]


def find_lists(layout: Tables, source: Source) -> Lists | None:
    """Find the files of each table, and the names of all others; ``None``: not all are there."""
    templates = [
        [(table, Templates([file, f"{file}{PACKED}"], layout, endings=())) for file in table.file]
        for table in layout.tables
    ]
    every = [one for alternatives in templates for _, one in alternatives]
    names: Counter[str] = Counter()

    def wanted(name: str) -> bool:
        if any(one.match(name) for one in every):
            return True
        names[every[0].strip(name)] += 1
        return False

    def reaches(folder: str) -> bool:
        # lists may name pictures in any folder
        return layout.pictures is not None or any(one.reaches(folder) for one in every)

    files = list(find_files(source.folder, wanted, LARGEST, source.mistakes, reaches))
    tables = []
    for alternatives in templates:
        found = (
            [ListFile(file, match, table, layout, source.mistakes)
             for file, match in match_once(files, template, source)]
            for table, template in alternatives
        )  # fmt: skip
        some = next(filter(None, found), [])
        tables.append(sorted(some, key=lambda one: one.match.name))
    have = [table.file[0] for table, some in zip(layout.tables, tables, strict=True) if some]
    whole = bool(have)
    for table, some in zip(layout.tables, tables, strict=True):
        if have and not some and _joins(table):
            what = f"has no {' or '.join(table.file)}"
            source.mistakes.add(UserError(str(source.folder), what, f"put it beside {have[0]}"))
            whole = False
    return Lists(tables, names) if whole else None


def _joins(table: Table) -> bool:
    """Return whether the rows of a table are joined with those of others by an id."""
    return "id" in table.fields() or table.file[0].lower().endswith(".mat")


def read_lists(lists: Lists, source: Source) -> Rows | None:
    """Read all lists; the joined ones are one. ``None``: one cannot be read at all."""
    parts: dict[bool, list[Rows]] = {True: [], False: []}
    whole = True
    for one in chain.from_iterable(lists.tables):
        is_mat = one.match.name.lower().endswith(".mat")
        rows = read_mat_table(one) if is_mat else read_text_table(one)
        if rows is None:
            whole = False
        elif len(rows):
            parts[_joins(one.table)].append(rows)
    if not whole:
        return None
    joined = [join_rows(parts[True], source.mistakes)] if parts[True] else []
    return append_rows([*joined, *parts[False]])


def list_digests(lists: Lists) -> dict[str, str]:
    """Return list, as its table calls it → SHA-256 of its file, or of those of all its files."""
    digests: dict[str, str] = {}
    for files in filter(None, lists.tables):
        lines = [f"{one.match.name} {one.file.sha256()}\n" for one in files]
        whole = hashlib.sha256("".join(lines).encode()).hexdigest()
        name = files[0].table.file[0]
        digests[name] = whole if len(lines) > 1 else files[0].file.sha256()
    return digests
