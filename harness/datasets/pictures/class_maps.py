"""Class maps: the numbers in a file become classes, at the size of the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.config.dataset import Size
from harness.config.dataset_layouts import LabelMaps
from harness.datasets.pictures.modes import MODES, Pixels, read_numbers
from harness.datasets.pictures.opening import check_size, is_turned, open_image, turned_error
from harness.datasets.pictures.resizing import resizing

VOID = 255
"""Stored value of pixels without a class."""
_UNKNOWN = 256


def read_class_map(blob: bytes, where: str, size: Size | None) -> tuple[Pixels, tuple[str, ...]]:
    """Read the class numbers of a PNG.

    Args:
        blob: content of the file.
        where: name of the file for messages.
        size: width and height that it must have; ``None`` for any.

    Returns:
        uint8 ``[H, W]``, and remarks as in ``ReadPicture``.

    Raises:
        UserError: as ``read_picture``; also a mode that stores colors instead of numbers.
    """
    remarks: list[str] = []
    with open_image(blob, where, ("PNG",), remarks) as image:
        row = MODES[image.mode]
        if not row.numbers:
            what = f"is {row.name}, not 8-bit grey or a palette"
            raise UserError(where, what, "give class numbers, not colours")
        check_size(image, where, size)
        tiles = getattr(image, "tile", [])  # until the pixels are loaded
        raw_mode = tiles[0].args if tiles else None
        numbers = read_numbers(image, raw_mode)
        if is_turned(image):
            raise turned_error(where)
        if image.mode == "P":
            remarks.append("class maps with a palette, whose indices are the classes")
    return numbers, tuple(remarks)


def class_table(layout: LabelMaps) -> NDArray[np.int64]:
    """Return the table ``[256]`` from a value in a map to its class, ``VOID`` or ``_UNKNOWN``."""
    classes = {name: number for number, name in enumerate(layout.class_names())}
    table = np.full(256, VOID if layout.void is None else _UNKNOWN, dtype=np.int64)
    table[list(layout.void or ())] = VOID
    for value, name in layout.values.items():
        table[value] = classes[name]
    return table


def to_classes(values: Pixels, table: NDArray[np.int64], where: str) -> Pixels:
    """Return the class of every pixel ``[H, W]``, by the table.

    Raises:
        UserError: a value that the table does not know.
    """
    seen = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    unknown = seen[table[seen] == _UNKNOWN]
    if len(unknown):
        what = f"holds the value {unknown[0]}"
        raise UserError(where, what, "name it in values or void of the data set's file")
    return table[values].astype(np.uint8)


def fit_map(classes: Pixels, resize: Size | None) -> Pixels:
    """Resize a class map as its picture is, by nearest neighbour.

    A mean of two class numbers would be a third class.

    Args:
        classes: uint8 ``[H, W]``.
        resize: width and height; or the short side, of which the middle square is kept.
    """
    size, (left, top, right, bottom) = resizing((classes.shape[1], classes.shape[0]), resize)
    return _nearest(classes, size)[top:bottom, left:right]


def _nearest(classes: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize to width and height: each pixel is the one under its centre.

    Indices are whole numbers. (Pillow adds fractions along a row, so rounding would decide ties.)
    """
    columns, rows = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(size, reversed(classes.shape), strict=True)
    )
    resized: Pixels = classes[np.ix_(rows, columns)]
    return resized
