"""Class maps: the numbers in a file become classes, at the size of the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.config.dataset import Size
from harness.config.dataset_layouts import LabelMaps
from harness.datasets.pictures.modes import Pixels

VOID = 255
"""Stored value of pixels without a class."""
_UNKNOWN = 256


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
    height, width = classes.shape
    if resize is None:
        return classes
    if not isinstance(resize, int):
        return _nearest(classes, resize)
    short = min(width, height)
    size = tuple(resize if side == short else int(resize * side / short)
                 for side in (width, height))  # fmt: skip
    left, top = (round((side - resize) / 2) for side in size)
    whole = _nearest(classes, (size[0], size[1]))
    return whole[top : top + resize, left : left + resize]


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
