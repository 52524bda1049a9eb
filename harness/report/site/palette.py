"""Colours of the classes, the same on the whole site."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

VOID = "#000000"
"""Colour of ground truth without a label."""

UNNAMED = "#808080"
"""Colour of a prediction that names no class."""

COLOURS = (
    "#0072b2", "#ddff00", "#334411", "#77ccff", "#ccaa33", "#660077", "#99ffee", "#0000dd",
    "#5599ee", "#dd4411", "#774466", "#aaccaa", "#88aa88", "#aa33ff", "#dddd77", "#6611aa",
    "#cc77bb", "#aa4444", "#cc22bb", "#cccc11", "#bbaacc", "#ee6644", "#ff55ff", "#553355",
    "#885588", "#aadddd", "#bbffbb", "#554488", "#55cc77", "#779966", "#990033", "#9966dd",
)  # fmt: skip
"""Class → colour. Each is the farthest (in OKLab) from all before it, black and grey, for the worst
of normal, protan, deutan and (at four fifths) tritan vision. So nearly all readers can distinguish
the first dozen; no palette of 32 works for all. Class 32 repeats the first colour."""


def colour(index: int) -> str:
    """Return the colour of a class.

    >>> colour(0) == colour(32)
    True
    """
    return COLOURS[index % len(COLOURS)]


def table(classes: int) -> NDArray[np.uint8]:
    """Return the RGB of each class, ``[K + 1, 3]``; the last is for predictions of no class."""
    return rgb([*(colour(i) for i in range(classes)), UNNAMED])


def rgb(colours: Sequence[str]) -> NDArray[np.uint8]:
    """Convert hexadecimal colours to RGB.

    >>> rgb(["#0072b2"]).tolist()
    [[0, 114, 178]]
    """
    return np.array([list(bytes.fromhex(colour[1:])) for colour in colours], np.uint8)
