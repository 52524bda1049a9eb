"""Pairs of an image and a class map, both PNG: found by name in folders and in tar archives."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.datasets.base import identities
from harness.datasets.pictures import archives, tar_images, unreadable

Pixels = NDArray[np.uint8]

VOID = 255
_WORDS = {"x": "image", "y": "label file"}


@dataclass(frozen=True)
class Form:
    """How the files of a set are called, and what they hold.

    Attributes:
        pattern: of a file's name below the folder, with the groups ``part``, ``name`` (the same
            for both files of a pair) and ``label`` (matched in class maps alone).
        places: globs below the folder that reach the files. accepted: the same, for a person.
        parts: official part → how many pairs it has where it is whole.
        source, stored: width and height of the files, and of the rows made from them.
        classes: class → its label in the files, in the order of the classes here.
        void: labels of no class. A label that is in neither is refused.
    """

    name: str
    pattern: re.Pattern[str]
    places: tuple[str, ...]
    accepted: str
    parts: Mapping[str, int]
    source: tuple[int, int]
    stored: tuple[int, int]
    classes: Mapping[str, int]
    void: frozenset[int]

    @property
    def table(self) -> Pixels:
        """Label in the files → class, or ``VOID``; uint8 ``[256]``."""
        table = np.full(256, VOID, dtype=np.uint8)
        table[list(self.classes.values())] = np.arange(len(self.classes), dtype=np.uint8)
        return table


@dataclass(frozen=True)
class File:
    """Half a pair, as it was found.

    Attributes:
        array: ``x``, the image, or ``y``, the class map.
        where: for messages. origin: the archive, or ``<part>/`` of the folder.
        content: what was read of an archive, or where to read it.
    """

    part: str
    name: str
    array: str
    where: str
    origin: str
    content: Path | bytes

    def read(self) -> bytes:
        """The file's bytes; unreadable ones are a ``UserError``."""
        if isinstance(self.content, bytes):
            return self.content
        try:
            return self.content.read_bytes()
        except OSError as error:
            raise unreadable(self.content, error) from error


def identity(form: Form, name: str) -> int:
    """A pair's id, made of its name: in a subset, pairs keep the ids of the whole."""
    return int(identities(form.name, [name])[0])


def find(folder: Path, form: Form) -> dict[str, list[str]]:
    """Official part → names of its pairs, in order; every part has some, and every id is one's own.

    Raises:
        UserError: a part is missing, half of a pair is, or something is there twice.
    """
    found: dict[str, dict[str, dict[str, str]]] = {part: {} for part in form.parts}
    owners: dict[int, tuple[str, str, str]] = {}
    for file in walk(folder, form):
        pair = found[file.part].setdefault(file.name, {})
        if file.array in pair:
            raise UserError(file.where, f"is also in {pair[file.array]}", "leave one of them")
        pair[file.array] = file.where
        owner = owners.setdefault(identity(form, file.name), (file.part, file.name, file.where))
        if owner[:2] != (file.part, file.name):
            what = f"has the same id as {owner[2]}: ids are made of names"
            raise UserError(file.where, what, "leave one of them")
    if not any(found.values()):
        fix = f"give a folder with {form.accepted}"
        raise UserError(str(folder), f"nothing in it is {form.name}", fix)
    for part, pairs in found.items():
        _check_whole(folder, form, part, pairs)
    return {part: sorted(pairs) for part, pairs in found.items()}


def _check_whole(
    folder: Path, form: Form, part: str, pairs: Mapping[str, Mapping[str, str]]
) -> None:
    if not pairs:
        raise UserError(str(folder), f"has no {part} images", f"give {form.accepted}")
    for name in sorted(pairs):
        for array, word in _WORDS.items():
            if array not in pairs[name]:
                (where,) = pairs[name].values()
                fix = f"add it, or remove this one ({form.accepted})"
                raise UserError(where, f"there is no {word} for it", fix)


def walk(folder: Path, form: Form) -> Iterator[File]:
    """Every file of the set, in the folder and in archives in it.

    Raises:
        UserError: an archive is broken, or one of its files larger than such an image can be.
    """

    def half(match: re.Match[str], where: str, origin: str, content: Path | bytes) -> File:
        array = "x" if match["label"] is None else "y"
        return File(match["part"], match["name"], array, where, origin, content)

    for place in form.places:
        for path in sorted(folder.glob(place)):
            match = form.pattern.fullmatch(path.relative_to(folder).as_posix())
            if match is not None and path.is_file():
                yield half(match, str(path), f"{match['part']}/", path)
    # A PNG is no larger than its pixels, but for what else it may say.
    largest = 3 * form.source[0] * form.source[1] + (1 << 20)
    try:
        sources = archives(folder)
    except OSError as error:
        raise unreadable(folder, error) from error
    for archive in sources:
        for name, blob in tar_images(archive, form.pattern.fullmatch, largest):
            match = form.pattern.fullmatch(name)
            assert match is not None  # only such are handed out
            yield half(match, f"{archive}: {name}", archive.name, blob)
