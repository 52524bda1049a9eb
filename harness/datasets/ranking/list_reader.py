"""Reader of comparison lists: finds them in a folder, splits them, and stores them as arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from harness.common.errors import UserError
from harness.common.files import save_array
from harness.datasets.base import Ids
from harness.datasets.findings import inspect_arrays
from harness.datasets.hashing import hash_order, name_ids
from harness.datasets.mistakes import Mistakes
from harness.datasets.ranking import item_images
from harness.datasets.ranking.grammars import Grammar
from harness.datasets.ranking.lists import Comparison, parse_list
from harness.datasets.ranking.source import LINES, PARTS
from harness.datasets.ranking.voting import majority_mask
from harness.datasets.remarks import Remarks, join_notes
from harness.datasets.source_files import SourceFile, find_files

LARGEST = 1 << 28
"""Limit of a list in bytes."""

Rows = dict[str, list[Comparison]]
"""Split → its comparisons, in the order of the list."""


@dataclass(frozen=True)
class ComparisonLayout:
    """Files of a ranking set in a source folder, and how they become splits.

    Attributes:
        name: of the data set.
        grammar: of its lists.
        list_files: alternatives of split → list file, below one of ``folders``. The first
            alternative with all of its files is read.
        folders: folders that may hold the lists, ``""`` or ending in a slash.
        shares: split → share of the groups in train that it gets if it has no list of its own.
        accepted: description of the layout for messages.
        images: whether items are image files; else they are numbers below ``grammar.items``.
        votes: whether to mark the majority votes.
    """

    name: str
    grammar: Grammar
    list_files: tuple[Mapping[str, str], ...]
    folders: tuple[str, ...]
    shares: Mapping[str, float]
    accepted: str
    images: bool = True
    votes: bool = False


def write_arrays(layout: ComparisonLayout, source: Path, out: Path) -> dict[str, object]:
    """Read the lists in a folder, store them as arrays, and return fields of the manifest.

    Raises:
        UserError: a list or an image is missing or malformed.
    """
    folder, names_of, lists = _find_lists(source, layout)
    mistakes, remarks = Mistakes(str(source)), Remarks()
    blobs = {part: file.read() for part, file in lists.items()}
    listed: Rows = {}
    for part, file in lists.items():
        with mistakes.gather():
            listed[part] = parse_list(blobs[part], file.where, layout.grammar)
    mistakes.check()
    rows = _split_rows(layout, listed)
    names = {part: sorted({item for row in rows[part] for item in row.items}) for part in PARTS}
    files = {names_of[part]: hashlib.sha256(blob).hexdigest() for part, blob in blobs.items()}
    if layout.images:
        folders = (f"{folder}imgs", f"{folder}images", "imgs", "images")
        files |= item_images.write_images(source, folders, names, out, layout.name, remarks)
    else:
        count = layout.grammar.items or 0
        names = {part: [str(item) for item in range(count)] for part in PARTS}
        for part in PARTS:
            save_array(out / f"{part}_x.npy", np.arange(count, dtype=np.int64))
    _store_rows(layout, rows, names, out)
    remarks.say(_split_note(layout, rows, listed))
    findings, sentences = inspect_arrays(out, names)
    return {
        "files": files,
        "lossy": layout.images,
        "note": join_notes(remarks.note(), *sentences),
        **findings,
        "counts": {part: len(rows[part]) for part in PARTS},
    }


def _find_lists(
    source: Path, layout: ComparisonLayout
) -> tuple[str, Mapping[str, str], dict[str, SourceFile]]:
    """Return the folder of the lists, their names by split, and their contents by split."""
    wanted = {folder + name for names in layout.list_files for name in names.values()
              for folder in layout.folders}  # fmt: skip
    found = _read_files(source, wanted)
    for names in layout.list_files:
        for folder in layout.folders:
            if all(folder + name in found for name in names.values()):
                return folder, names, {part: found[folder + name] for part, name in names.items()}
    have = f"has only {', '.join(sorted(found))}" if found else f"nothing in it is {layout.name}"
    raise UserError(str(source), have, f"give a folder with {layout.accepted}")


def _read_files(source: Path, wanted: set[str]) -> dict[str, SourceFile]:
    """Find those of the wanted files that exist, in the folder or in archives in it."""
    found: dict[str, SourceFile] = {}
    mistakes = Mistakes(str(source))
    folders = {name.partition("/")[0].lower() for name in wanted if "/" in name}
    for file in find_files(source, folders, wanted.__contains__, LARGEST, mistakes):
        if file.name in found:
            what = f"is also {found[file.name].where}"
            mistakes.add(UserError(file.where, what, "leave one of them"))
        found[file.name] = file
    mistakes.check()
    return found


def _split_rows(layout: ComparisonLayout, listed: Rows) -> Rows:
    """Return the rows of every split, taken from train where a split has no list of its own.

    Rows are taken by group, so that no comparison is in two splits.
    """
    rows = dict(listed)
    train = rows["train"]
    groups = sorted({row.group for row in train})
    order = hash_order(name_ids(f"{layout.name}/group", groups), f"{layout.name}/parts")
    part_of, taken = dict.fromkeys(groups, "train"), 0
    for part, share in layout.shares.items():
        if part in rows:
            continue
        count = round(share * len(groups))
        part_of |= dict.fromkeys([groups[at] for at in order[taken : taken + count]], part)
        rows[part] = [row for row in train if part_of[row.group] == part]
        taken += count
    rows["train"] = [row for row in train if part_of[row.group] == "train"]
    for part in PARTS:
        if not rows[part]:
            what = f"{len(train):,} training rows leave none for {part}"
            raise UserError(f"data set {layout.name}", what, "give the whole list")
    return rows


def _store_rows(
    layout: ComparisonLayout, rows: Rows, names: Mapping[str, Sequence[str]], out: Path
) -> None:
    # Ids are made over all splits, so that a comparison in two of them has two ids.
    keys = chain.from_iterable((row.key for row in rows[part]) for part in PARTS)
    ids = np.split(name_ids(layout.name, keys), np.cumsum([len(rows[part]) for part in PARTS])[:2])
    for part, part_ids in zip(PARTS, ids, strict=True):
        save_array(out / f"{part}_y.npy", _labels(rows[part], names[part]))
        save_array(out / f"{part}_ids.npy", part_ids)
        if layout.votes:
            save_array(out / f"{part}_voted.npy", majority_mask(rows[part]))
    save_array(
        out / f"{LINES}.npy",
        np.array([row.line.encode() for row in rows["train"]], dtype=np.bytes_),
    )


def _labels(rows: Sequence[Comparison], names: Sequence[str]) -> Ids:
    """Return int64 ``[n, arity + 2]``: item rows, label, attribute."""
    row_of = {name: number for number, name in enumerate(names)}
    return np.array(
        [[*(row_of[item] for item in row.items), row.label, row.attribute] for row in rows],
        dtype=np.int64,
    )


def _split_note(layout: ComparisonLayout, rows: Rows, listed: Rows) -> str:
    """Describe splits that were cut from train or overlap with it; empty if there are none."""
    cut = [part for part in layout.shares if part not in listed]
    notes = [f"{' and '.join(cut)} cut from the training list"] if cut else []
    train = {row.group for row in rows["train"]}
    for part in ("val", "test"):
        if shared := sum(row.group in train for row in rows[part]):
            notes.append(f"{shared:,} {part} rows compare what train compares")
    return "; ".join(notes)
