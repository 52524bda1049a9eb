"""Pictures that lists name: where each lies in a source, and the box that counts of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import ceil, floor

from harness.common.errors import UserError
from harness.config.dataset import Picture
from harness.config.dataset_fields import PICTURE_FIELD
from harness.datasets.files.names import fold, is_ignored
from harness.datasets.lists.listed_rows import Rows, Texts
from harness.datasets.pictures.resizing import Box, both_sides, resizing

_FOLDER = re.compile(r"\{folder\}/")
Fill = Callable[[int], str | None]
"""Takes a row, and returns the name of its picture; ``None``: it lacks a field."""


class Places:
    """Places of listed pictures in a source.

    Args:
        templates: where a row's picture lies; of several, the first that is there.
        present: name below the source → how many files have it.
        rows: the rows.
    """

    def __init__(self, templates: Sequence[str], present: Mapping[str, int], rows: Rows) -> None:
        self._fills = [_compile(template, rows) for template in templates]
        self._present, self._rows, self.where = present, rows, rows.where
        self.respelled = 0
        """Names that a list spells in another case, or form of accents, than the source."""

    @cached_property
    def _folded(self) -> Mapping[str, str]:
        return {fold(name): name for name in self._present}

    def find(self, row: int) -> str | None:
        """Return the name of a row's picture below the source; ``None``: it is not there.

        Raises:
            UserError: the row names nothing, something that is no part of the source, or two files.
        """
        names = self.names(row)
        for name in names:
            if self._present.get(name, 0) > 1:
                what = f"names {name}, which is in the source twice"
                raise UserError(self._rows.where(row), what, "leave one of them")
            if name in self._present:
                return name
        for name in names:
            if found := self._folded.get(fold(name)):
                self.respelled += 1
                return found
        return None

    def names(self, row: int) -> list[str]:
        """Return the names that a row's picture may have.

        Raises:
            UserError: the row names nothing, or something that is no part of the source.
        """
        names = [_plain(name) for fill in self._fills if (name := fill(row))]
        for name in names:
            if re.match(r"/|[A-Za-z]:", name) or "\\" in name or ".." in name.split("/"):
                what = f"names {name}, which is no path below the source"
                raise UserError(self._rows.where(row), what, "write one with slashes, without ..")
            if is_ignored(name):
                what = f"names {name}, a hidden or a resource file"
                raise UserError(self._rows.where(row), what, "remove the row, or rename the file")
        if not names:
            raise UserError(self._rows.where(row), "names no picture", "mend the row")
        return names


def _plain(name: str) -> str:
    """Return a name without parts that mean the folder itself."""
    return "/".join(part for part in name.split("/") if part != ".") if "./" in name else name


def _compile(template: str, rows: Rows) -> Fill:
    """Return the function that fills a template with the fields of a row."""
    template = _FOLDER.sub("{folder}", template)
    pieces = PICTURE_FIELD.split(template)
    literals, names, digits = pieces[::3], pieces[1::3], pieces[2::3]
    texts: list[Texts | list[str]] = [
        rows.folders if name == "folder" else rows.texts(name) for name in names
    ]

    def fill(row: int) -> str | None:
        name = literals[0]
        for column, width, literal in zip(texts, digits, literals[1:], strict=True):
            text = column[row]
            if text is None:
                return None
            name += (text.rjust(int(width), "0") if width else text) + literal
        return name

    return fill


class Boxes:
    """Boxes of the rows of lists.

    Args:
        rows: the rows.
        picture: form in which their pictures are stored.
    """

    def __init__(self, rows: Rows, picture: Picture) -> None:
        self._rows, self._picture = rows, picture
        self._edges, self._sides = (
            [rows.texts(name) for name in names] if names[0] in rows.fields else []
            for names in (("x1", "y1", "x2", "y2"), ("width", "height"))
        )

    def read(self, row: int) -> Box | None:
        """Return the box of a row, in pixels of the file if it is cut out, else of what is stored.

        Raises:
            UserError: it is no box, or nothing says in what size of the picture it counts.
        """
        texts = [column[row] for column in self._edges]
        if not texts or None in texts:
            return None
        where, picture = self._rows.where(row), self._picture
        left, top, right, bottom = (_whole(text, where) for text in texts)
        if not (0 <= left <= right and 0 <= top <= bottom):
            what = f"its box is {left}, {top} to {right}, {bottom}"
            raise UserError(where, what, "give left, top, right and bottom in pixels")
        box = (left, top, right + 1, bottom + 1)
        if picture.boxes:
            return box
        sides = [column[row] for column in self._sides]
        if not sides or None in sides:
            if picture.resize is None:
                return box
            what = "has a box, and its picture is resized by an unknown factor"
            raise UserError(where, what, "add columns width and height, or picture.boxes")
        width, height = (_whole(side, where) for side in sides)
        if min(width, height) < 1:
            raise UserError(where, f"its picture is {width}x{height} pixels", "mend the row")
        return _stored_box(box, (width, height), picture)


def _stored_box(box: Box, size: tuple[int, int], picture: Picture) -> Box:
    """Return a box of a picture of this size as a box of the stored picture."""
    resize = picture.resize or (picture.size and both_sides(picture.size))
    target, kept = resizing(size, resize)
    edges = [
        to_pixel(edge * target[axis] / size[axis])
        for edge, axis, to_pixel in zip(box, (0, 1, 0, 1), (floor, floor, ceil, ceil), strict=True)
    ]
    left, top, right, bottom = (
        min(max(edge, kept[axis]), kept[axis + 2]) - kept[axis]
        for edge, axis in zip(edges, (0, 1, 0, 1), strict=True)
    )
    return left, top, right, bottom


def _whole(text: str | None, where: str) -> int:
    if text is None or not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        raise UserError(where, f"{text!r} is not a whole number of pixels", "mend the row")
    return int(text)
