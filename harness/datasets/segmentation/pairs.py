"""Finder of pairs of an image and a class map (PNG files), in folders and in tar archives."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.datasets.hashing import name_ids
from harness.datasets.mistakes import Mistakes
from harness.datasets.source_files import SourceFile, find_files

Pixels = NDArray[np.uint8]

VOID = 255
_WORDS = {"x": "image", "y": "label file"}


@dataclass(frozen=True)
class PairLayout:
    """Names and content of the files of a data set.

    Attributes:
        name: of the data set.
        folders: names of its folders in the source, in lower case.
        pattern: of a file's name below the folder, with the groups ``part`` (in any case), ``name``
            (equal for both files of a pair) and ``label`` (matched in class maps alone).
        accepted: description of the layout for messages.
        parts: official part → number of pairs in the published set.
        source_size: width and height of the files.
        stored_size: width and height of the stored arrays.
        classes: class → its label in the files; a class index is the position in this table.
        void: labels in the files that stand for no class. All other labels are refused.
    """

    name: str
    folders: tuple[str, ...]
    pattern: re.Pattern[str]
    accepted: str
    parts: Mapping[str, int]
    source_size: tuple[int, int]
    stored_size: tuple[int, int]
    classes: Mapping[str, int]
    void: frozenset[int]

    @property
    def table(self) -> Pixels:
        """Table from label in the files to class index or ``VOID``; uint8 ``[256]``."""
        table = np.full(256, VOID, dtype=np.uint8)
        table[list(self.classes.values())] = np.arange(len(self.classes), dtype=np.uint8)
        return table


@dataclass(frozen=True)
class PairFile:
    """One file of a pair.

    Attributes:
        part: official part.
        name: of the pair.
        array: ``x`` for the image, ``y`` for the class map.
        file: the file in the source.
    """

    part: str
    name: str
    array: str
    file: SourceFile

    @property
    def origin(self) -> str:
        """The archive, or ``<part>/`` of the folder."""
        return f"{self.part}/" if self.file.archive is None else self.file.archive.name


def pair_id(layout: PairLayout, name: str) -> int:
    """Return the id of a pair, made from its name: a subset has the ids of the whole set."""
    return int(name_ids(layout.name, [name])[0])


def find_pairs(folder: Path, layout: PairLayout) -> dict[str, list[str]]:
    """Find the pairs of every official part.

    Returns:
        Official part → names of its pairs, sorted; no part is empty, and all ids are unique.

    Raises:
        UserError: a part or one file of a pair is missing, or a pair is there twice; all mistakes
            at once.
    """
    found: dict[str, dict[str, dict[str, str]]] = {part: {} for part in layout.parts}
    owners: dict[int, tuple[str, str, str]] = {}
    mistakes = Mistakes(str(folder))
    for file in walk_files(folder, layout, mistakes):
        pair = found[file.part].setdefault(file.name, {})
        where = file.file.where
        if file.array in pair:
            mistakes.add(UserError(where, f"is also in {pair[file.array]}", "leave one of them"))
            continue
        pair[file.array] = where
        owner = owners.setdefault(pair_id(layout, file.name), (file.part, file.name, where))
        if owner[:2] != (file.part, file.name):
            what = f"has the same id as {owner[2]}: ids are made from names"
            mistakes.add(UserError(where, what, "leave one of them"))
    mistakes.check()
    if not any(found.values()):
        fix = f"give a folder with {layout.accepted}"
        raise UserError(str(folder), f"nothing in it is {layout.name}", fix)
    for part, pairs in found.items():
        _check_complete(folder, layout, part, pairs, mistakes)
    mistakes.check()
    return {part: sorted(pairs) for part, pairs in found.items()}


def _check_complete(
    folder: Path,
    layout: PairLayout,
    part: str,
    pairs: Mapping[str, Mapping[str, str]],
    mistakes: Mistakes,
) -> None:
    """Check that a part has pairs, and that no pair lacks a file."""
    if not pairs:
        mistakes.add(UserError(str(folder), f"has no {part} images", f"give {layout.accepted}"))
    for name in sorted(pairs):
        for array, word in _WORDS.items():
            if array not in pairs[name]:
                (where,) = pairs[name].values()
                fix = f"add it, or remove this one ({layout.accepted})"
                mistakes.add(UserError(where, f"there is no {word} for it", fix))


def walk_files(folder: Path, layout: PairLayout, mistakes: Mistakes) -> Iterator[PairFile]:
    """Yield every file of the data set, in the folder and in its archives.

    Args:
        folder: the source.
        layout: names and content of its files.
        mistakes: gets files that are refused; see ``source_files.find_files``.

    Raises:
        UserError: the folder or an archive cannot be read.
    """
    # A PNG has no more bytes than its pixels, apart from metadata.
    largest = 3 * layout.source_size[0] * layout.source_size[1] + (1 << 20)
    for file in find_files(folder, layout.folders, layout.pattern.fullmatch, largest, mistakes):
        match = layout.pattern.fullmatch(file.name)
        assert match is not None  # find_files yields matching names only
        array = "x" if match["label"] is None else "y"
        yield PairFile(match["part"].lower(), match["name"], array, file)
