"""Layout of an image classification set on disk: what its readers check and return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.common.text import suggest

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

LARGEST_SET = 1 << 30
"""Limit of a whole unpacked set in bytes (CIFAR-10 has 177 MB)."""


@dataclass(frozen=True)
class ImageSetLayout:
    """Classes and image size of a set.

    Attributes:
        name: of the data set.
        classes: names of the classes; a label is an index into it.
        channels: 3 for RGB, 1 for grey.
        side: width and height of an image in pixels.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    side: int

    def label(self, text: str, where: str) -> int:
        """Return the label of a class that is given by name or number."""
        known = {name: index for index, name in enumerate(self.classes)}
        known |= {str(index): index for index in range(len(self.classes))}
        if text not in known:
            hint = suggest(text, self.classes, "use one of")
            raise UserError(where, f"{text!r} is not a class of {self.name}", hint)
        return known[text]


@dataclass(frozen=True)
class ImageSet:
    """Images and labels that a reader found in a folder.

    Attributes:
        train_x: uint8 ``[N, C, H, W]``.
        train_y: int64 ``[N]``.
        test_x: uint8 ``[M, C, H, W]``.
        test_y: int64 ``[M]``.
        files: file → its SHA-256 (for a folder of images, one over all of them).
        lossy: whether some images were JPEG.
        note: remark for readers of results, or empty.
        names: split → name of each image in the source; empty where images have no names.
    """

    train_x: Pixels
    train_y: Labels
    test_x: Pixels
    test_y: Labels
    files: dict[str, str]
    lossy: bool = False
    note: str = ""
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
