"""Pictures that lists name: where each lies in a source, and the box that counts of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import ceil, floor

from harness.common.errors import UserError
from harness.config.dataset import Picture
from harness.config.dataset_layouts import PICTURE_FIELD
from harness.datasets.examples import Box
from harness.datasets.listed_rows import Rows, Texts
from harness.datasets.names import fold, is_ignored

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
        names = [name.removeprefix("./") for fill in self._fills if (name := fill(row))]
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


def read_box(rows: Rows, row: int, picture: Picture) -> Box | None:
    """Return the box of a row, in pixels of the file if it is cut out, else of what is stored.

    Raises:
        UserError: it is no box, or nothing says in what size of the picture it counts.
    """
    texts = [rows.texts(name)[row] for name in ("x1", "y1", "x2", "y2")]
    if None in texts:
        return None
    left, top, right, bottom = (_whole(text, rows, row) for text in texts)
    if not (0 <= left <= right and 0 <= top <= bottom):
        what = f"its box is {left}, {top} to {right}, {bottom}"
        raise UserError(rows.where(row), what, "give left, top, right and bottom in pixels")
    box = (left, top, right + 1, bottom + 1)
    if picture.boxes or (picture.resize is None and picture.size is None):
        return box
    sides = [rows.texts(name)[row] for name in ("width", "height")]
    if None in sides:
        if picture.resize is None:
            return box
        what = "has a box, and its picture is resized by an unknown factor"
        raise UserError(rows.where(row), what, "add columns width and height, or picture.boxes")
    width, height = (_whole(side, rows, row) for side in sides)
    if min(width, height) < 1:
        what = f"its picture is {width}x{height} pixels"
        raise UserError(rows.where(row), what, "mend the row")
    return _stored_box(box, (width, height), picture)


def _stored_box(box: Box, size: tuple[int, int], picture: Picture) -> Box:
    """Return a box of a picture of this size as a box of the stored picture."""
    target = picture.resize or picture.size
    offsets = (0, 0)
    if isinstance(picture.resize, int):
        short = min(size)
        stored = [int(picture.resize * side / short) for side in size]
        offsets = tuple(round((side - picture.resize) / 2) for side in stored)  # type: ignore[assignment]
        limits = (picture.resize, picture.resize)
    else:
        assert target is not None  # checked by read_box
        limits = (target, target) if isinstance(target, int) else target
        stored = list(limits)
    left, top, right, bottom = (
        min(max(to_pixel(edge * stored[axis] / size[axis]) - offsets[axis], 0), limits[axis])
        for edge, axis, to_pixel in zip(box, (0, 1, 0, 1), (floor, floor, ceil, ceil), strict=True)
    )
    return left, top, right, bottom


def _whole(text: str | None, rows: Rows, row: int) -> int:
    if text is None or not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        what = f"{text!r} is not a whole number of pixels"
        raise UserError(rows.where(row), what, "mend the row")
    return int(text)
