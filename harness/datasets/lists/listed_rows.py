"""Rows of the lists of a data set: their fields by name, and tables joined by their ids."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.datasets.mistakes import Mistakes

Texts = list[str | None]
"""Text of a field in each row; ``None``: the row does not have it."""


@dataclass
class Rows:
    """Rows of one or several lists.

    Attributes:
        files: name of the list that each row is in, for messages.
        numbers: number of each row there, from 1.
        folders: folder of that list below the source, empty or ending in a slash.
        fields: field → its text in each row; ``split`` is one of ours.
        pixels: uint8 ``[N, P]`` of lists that have pixels.
    """

    files: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    fields: dict[str, Texts] = field(default_factory=dict)
    pixels: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def where(self, row: int) -> str:
        """Return the place of a row for messages."""
        return f"{self.files[row]}, row {self.numbers[row]:,}"

    def texts(self, name: str) -> Texts:
        """Return a field, which no row need have."""
        return self.fields.get(name) or [None] * len(self)


def append_rows(parts: Sequence[Rows]) -> Rows:
    """Return the rows of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    found = Rows()
    for part in parts:
        found.files += part.files
        found.numbers += part.numbers
        found.folders += part.folders
    for name in dict.fromkeys(name for part in parts for name in part.fields):
        found.fields[name] = [text for part in parts for text in part.texts(name)]
    blocks = [part.pixels for part in parts if part.pixels is not None and len(part.pixels)]
    if blocks and len({block.shape[1] for block in blocks}) == 1:
        found.pixels = np.concatenate(blocks)
    return found


def join_rows(parts: Sequence[Rows], mistakes: Mistakes) -> Rows:
    """Return one row for each id, with the fields that all parts give it.

    Args:
        parts: rows with a field ``id``.
        mistakes: gets ids with two values of a field, and ids that lack a field of others.
    """
    if len(parts) == 1:
        return parts[0]
    names = list(dict.fromkeys(name for part in parts for name in part.fields))
    found = Rows(fields={name: [] for name in names})
    row_of: dict[str | None, int] = {}
    for part in parts:
        rows: list[int] = []
        for place, id_ in enumerate(part.fields["id"]):
            row = row_of.setdefault(id_, len(row_of))
            rows.append(row)
            if row == len(found):
                found.files.append(part.files[place])
                found.numbers.append(part.numbers[place])
                found.folders.append(part.folders[place])
                for texts in found.fields.values():
                    texts.append(None)
        for name in part.fields:
            _merge(found, rows, name, part, mistakes)
    _check_whole(found, names, mistakes)
    return found


def _merge(found: Rows, rows: Collection[int], name: str, part: Rows, mistakes: Mistakes) -> None:
    """Take a field of a part's rows over."""
    known = found.fields[name]
    for place, (row, text) in enumerate(zip(rows, part.fields[name], strict=True)):
        if known[row] is not None and known[row] != text:
            what = f"id {part.fields['id'][place]} has {name} {text}, elsewhere {known[row]}"
            mistakes.add(UserError(part.where(place), what, "leave one of them"))
        known[row] = text


def _check_whole(found: Rows, names: Collection[str], mistakes: Mistakes) -> None:
    """Check that each id has every field."""
    for name in names:
        for row, text in enumerate(found.fields[name]):
            if text is None:
                what = f"id {found.fields['id'][row]} has no {name} in the other lists"
                mistakes.add(UserError(found.where(row), what, "add it there, or remove it here"))
