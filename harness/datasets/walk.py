"""Files of a source that templates name, and the pictures among them, read one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.common.keys import file_digest
from harness.datasets.examples import Pieces, Source
from harness.datasets.files.source_files import SourceFile, find_files
from harness.datasets.pictures.formats import is_picture
from harness.datasets.pictures.parallel import decode_files
from harness.datasets.pictures.reader import read_picture
from harness.datasets.pictures.resizing import Box
from harness.datasets.templates import Match, Templates

LARGEST = 1 << 28
"""Limit of one file in bytes."""


def find_matches(source: Source, templates: Templates) -> Iterator[tuple[SourceFile, Match]]:
    """Yield every file that a template names, in the folder and in its archives, each name once.

    Pictures that no template names are counted in a remark.
    """
    odd: list[str] = []

    def wanted(name: str) -> bool:
        if templates.match(name) is not None:
            return True
        if is_picture(name) and not templates.ignores(name):
            odd.append(name)
        return False

    files = find_files(source.folder, wanted, LARGEST, source.mistakes, templates.reaches)
    yield from match_once(files, templates, source)
    if odd:
        source.remarks.say(f"{len(odd):,} pictures that its layout does not name ({min(odd)})")


def match_once(
    files: Iterable[SourceFile], templates: Templates, source: Source
) -> Iterator[tuple[SourceFile, Match]]:
    """Yield the files that a template names; a second one of a name is a mistake."""
    seen: dict[str, str] = {}
    for file in files:
        match = templates.match(file.name)
        if match is None:
            continue
        if match.name in seen:
            what = f"is also {seen[match.name]}"
            source.mistakes.add(UserError(file.where, what, "leave one of them"))
            continue
        seen[match.name] = file.where
        yield file, match


@dataclass(frozen=True)
class Decoded:
    """What a file gives for one example.

    Attributes:
        field: ``x`` or ``y``.
        values: the array.
        size: width and height in the file, upright.
        remarks: what is to be said about files like it.
    """

    field: str
    values: NDArray[Any]
    size: tuple[int, int]
    remarks: tuple[str, ...] = ()


Decode = Callable[[SourceFile, bytes, int], Decoded]
"""Decodes the content of a file for the example of a number; it is called from threads."""


class Pictures:
    """Files of a source by their name in it, decoded in the order in which they lie there.

    Args:
        source: the source.
        templates: templates that name the files.
        numbers: name → numbers of the examples that the file is for.
        boxes: number → part of the picture that counts, where ``picture.boxes`` asks for it.
        mapped: whether each has a class map; see ``read_picture``.
    """

    def __init__(
        self,
        source: Source,
        templates: Templates,
        numbers: Mapping[str, Collection[int]],
        boxes: Mapping[int, Box] = MappingProxyType({}),
        *,
        mapped: bool = False,
    ) -> None:
        self.source, self.templates, self.numbers, self.boxes = source, templates, numbers, boxes
        self.files: dict[str, str] = {}
        """Archive or folder → SHA-256 of what was read of it, complete once all is read."""
        self._mapped = mapped

    def read(self, wanted: Collection[int], decode: Decode | None = None) -> Pieces:
        """Yield number, field and array of the wanted examples; damage is a mistake.

        Args:
            wanted: numbers of the examples; other files are not decoded.
            decode: decodes a file; ``None``: as a picture in the stored form.
        """
        decode, chosen = decode or self.decode, frozenset(wanted)
        digests: dict[str, list[str]] = {}
        archives: dict[str, Path] = {}

        def numbers_of(name: str) -> list[int]:
            match = self.templates.match(name)
            found = () if match is None else self.numbers.get(match.name, ())
            return [number for number in found if number in chosen]

        def decode_all(file: SourceFile) -> tuple[str, list[tuple[int, Decoded]]]:
            blob = file.read()
            own = [(number, decode(file, blob, number)) for number in numbers_of(file.name)]
            return hashlib.sha256(blob).hexdigest(), own

        mistakes = self.source.mistakes
        reaches = self.templates.reaches
        files = find_files(self.source.folder, numbers_of, LARGEST, mistakes, reaches)
        for file, (digest, found) in decode_files(files, decode_all, mistakes):
            digests.setdefault(_origin(file), []).append(f"{file.name} {digest}")
            if file.archive is not None:
                archives[_origin(file)] = file.archive
            for number, one in found:
                self.source.remarks.add(one.remarks)
                yield number, one.field, one.values
        for origin, lines in digests.items():
            whole = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
            self.files[origin] = file_digest(archives[origin]) if origin in archives else whole

    def decode(self, file: SourceFile, blob: bytes, number: int) -> Decoded:
        """Decode a picture to the stored form."""
        form, box = self.source.picture, self.boxes.get(number)
        picture = read_picture(blob, file.where, form, box, mapped=self._mapped)
        remarks = picture.remarks
        if form.lossless and picture.lossy:
            remarks = (*remarks, "pictures stored with loss: not comparable with published figures")
        return Decoded("x", picture.pixels, picture.size, remarks)


def _origin(file: SourceFile) -> str:
    """Return the archive, or the first folder, that a file lies in."""
    if file.archive is not None:
        return file.archive.name
    first, slash, _ = file.name.partition("/")
    return f"{first}/" if slash else "./"
