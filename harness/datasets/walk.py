"""Files of a source that templates name, and the pictures among them, read one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from harness.common.errors import UserError
from harness.datasets.examples import Pieces, Source
from harness.datasets.image_files import PictureForm, read_picture
from harness.datasets.source_files import SourceFile, find_files
from harness.datasets.stored import file_sha256
from harness.datasets.templates import ENDINGS, Match, Templates

LARGEST = 1 << 28
"""Limit of one file in bytes."""
FORMATS = ("PNG", "JPEG", "PPM", "BMP", "GIF", "WEBP", "TIFF")
"""Formats of pictures, by Pillow's names."""


def find_matches(source: Source, templates: Templates) -> Iterator[tuple[SourceFile, Match]]:
    """Yield every file that a template names, in the folder and in its archives, each name once.

    Pictures that no template names are counted in a remark.
    """
    seen: dict[str, str] = {}
    odd: list[str] = []

    def wanted(name: str) -> bool:
        if templates.match(name) is not None:
            return True
        if name.lower().endswith(tuple(f".{ending}" for ending in ENDINGS)):
            odd.append(name)
        return False

    for file in find_files(source.folder, None, wanted, LARGEST, source.mistakes):
        match = templates.match(file.name)
        assert match is not None  # find_files yields wanted names only
        if match.name in seen:
            what = f"is also {seen[match.name]}"
            source.mistakes.add(UserError(file.where, what, "leave one of them"))
            continue
        seen[match.name] = file.where
        yield file, match
    if odd:
        source.remarks.say(f"{len(odd):,} pictures that its layout does not name ({min(odd)})")


def picture_form(source: Source, *, mapped: bool = False) -> PictureForm:
    """Return the form of a source's pictures."""
    picture = source.manifest.picture
    if picture is None:
        return PictureForm(3, FORMATS, mapped=mapped)
    size, resize = picture.size, picture.resize
    return PictureForm(
        picture.channels,
        FORMATS,
        size=(size, size) if isinstance(size, int) else size,
        resized=resize if isinstance(resize, tuple) else None,
        mapped=mapped,
    )


class Pictures:
    """Pictures of a source by their name in it, read in the order in which they lie there.

    Args:
        source: the source.
        templates: templates that name the pictures.
        numbers: name → numbers of the examples that it is for.
    """

    def __init__(
        self, source: Source, templates: Templates, numbers: Mapping[str, Collection[int]]
    ) -> None:
        self.source, self.templates, self.numbers = source, templates, numbers
        self.files: dict[str, str] = {}

    def read(
        self,
        wanted: Collection[int],
        decode: Callable[[bytes, SourceFile, int], tuple[str, Any]] | None = None,
    ) -> Pieces:
        """Yield number, field and array of the wanted examples; damage is a mistake."""
        decode = decode or self.decode
        chosen = frozenset(wanted)
        digests: dict[str, list[str]] = {}

        def named(name: str) -> bool:
            match = self.templates.match(name)
            return match is not None and match.name in self.numbers

        for file in find_files(self.source.folder, None, named, LARGEST, self.source.mistakes):
            name = self.templates.strip(file.name)
            with self.source.mistakes.gather():
                blob = file.read()
                digest = hashlib.sha256(blob).hexdigest()
                digests.setdefault(_origin(file), []).append(f"{file.name} {digest}")
                for number in self.numbers[name]:
                    if number in chosen:
                        yield (number, *decode(blob, file, number))
        for origin, lines in digests.items():
            whole = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
            path = self.source.folder / origin
            self.files[origin] = whole if origin.endswith("/") else file_sha256(path)

    def decode(self, blob: bytes, file: SourceFile, number: int) -> tuple[str, Any]:
        """Decode a picture to the stored form."""
        picture = read_picture(blob, file.where, picture_form(self.source))
        self.source.remarks.add(picture.remarks)
        form = self.source.manifest.picture
        if form is not None and form.lossless and picture.format == "JPEG":
            self.source.remarks.add(["pictures from JPEG: do not compare with published figures"])
        return "x", picture.pixels


def _origin(file: SourceFile) -> str:
    """Return the archive, or the first folder, that a file lies in."""
    if file.archive is not None:
        return file.archive.name
    first, slash, _ = file.name.partition("/")
    return f"{first}/" if slash else "./"
