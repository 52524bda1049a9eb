"""Augmentation of training images: random crops and flips, drawn anew at each step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.runtime.contracts import Data

PADDING = 1 / 8
"""Width of the zero border that ``padded`` adds, as a share of the side: 4 of 32 pixels."""

AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
"""Share of the picture's area and ratio of sides of a ``resized`` crop (Szegedy et al. 2015)."""

TRIES = 10
"""Draws of a ``resized`` crop that fits, before the largest one in the middle is taken."""

Crop = Callable[[Tensor, tuple[int, int], torch.Generator], Tensor]
"""``crop(x, (height, width), generator)``: one crop of each image, ``[B, C, height, width]``."""


def take(
    data: Data, rows: Tensor, crop: str, flip: bool, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return what ``Data.take`` does, with each image cropped and half of them mirrored.

    The set's overlay comes last, so that it is neither cropped nor mirrored.

    Args:
        data: data set.
        rows: int64 ``[B]``, positions in the set.
        crop: row of ``CROPS``. ``stored`` and ``resized`` crop the picture as it is stored, where
            that is larger than what networks see; ``stored`` leaves all others as they are.
        flip: whether half of the images are mirrored.
        generator: source of the places and of who is mirrored.

    Raises:
        ValueError: labels belong to pixels, which would have to move, too.
    """
    cut = CROPS[crop]
    whole = data.uncropped if crop in LARGER else None
    if crop == "stored" and whole is None:
        cut = None
    if cut is None and not flip:
        return data.take(rows)
    if data.spec.task == "segmentation":
        raise ValueError("random crops and flips need labels of whole images")
    plain = replace(data, raw=data.raw if whole is None else whole, uncropped=None, overlay=None)
    x, y = plain.take(rows)
    if cut is not None:
        height, width = data.spec.shape[-2:]
        x = cut(x, (height, width), generator)
    if flip:
        mirrored = torch.rand(len(x), generator=generator) < 0.5
        x[mirrored] = x[mirrored].flip(-1)
    return x if data.overlay is None else data.overlay(x, data.ids[rows.cpu()]), y


def windows(x: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Return a window of each image at a random place."""
    height, width = size
    top, left = (
        torch.randint(have - want + 1, (len(x),), generator=generator).tolist()
        for have, want in zip(x.shape[-2:], size, strict=True)
    )
    crops = x.new_empty(*x.shape[:-2], height, width)
    for crop, image, row, column in zip(crops, x, top, left, strict=True):
        crop.copy_(image[..., row : row + height, column : column + width])
    return crops


def padded(x: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Return a window of each image inside a border of zeros (He et al. 2015, section 4.2)."""
    rows, columns = (round(PADDING * side) for side in size)
    return windows(F.pad(x, (columns, columns, rows, rows)), size, generator)


def resized(x: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Return a part of each image, of random size and shape, resized (Szegedy et al. 2015)."""
    crops = x.new_empty(*x.shape[:-2], *size)
    height, width = x.shape[-2:]
    for crop, image in zip(crops, x, strict=True):
        top, left, rows, columns = part(height, width, generator)
        window = image[None, :, top : top + rows, left : left + columns]
        crop.copy_(F.interpolate(window, size, mode="bilinear", antialias=True)[0])
    return crops.clamp_(0, 1)


def part(height: int, width: int, generator: torch.Generator) -> tuple[int, int, int, int]:
    """Return top, left, height and width of a random part of a picture."""
    for _ in range(TRIES):
        share, shape = torch.rand(2, generator=generator).tolist()
        area = height * width * (AREA[0] + share * (AREA[1] - AREA[0]))
        low, high = map(math.log, RATIO)
        ratio = math.exp(low + shape * (high - low))
        rows, columns = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < rows <= height and 0 < columns <= width:
            top = int(torch.randint(height - rows + 1, (1,), generator=generator))
            left = int(torch.randint(width - columns + 1, (1,), generator=generator))
            return top, left, rows, columns
    rows, columns = min(height, round(width / RATIO[0])), min(width, round(height * RATIO[1]))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


CROPS: dict[str, Crop | None] = {
    "none": None,
    "stored": windows,
    "padded": padded,
    "resized": resized,
}
"""Crop → function that makes it; ``none`` is what evaluation sees."""

LARGER = ("stored", "resized")
"""Crops of the picture as it is stored."""
