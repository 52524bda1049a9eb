"""Pictures of attention maps: each map in colours over its image, a grid of networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.judge.budget import as_seen

Array = NDArray[Any]
Picture = NDArray[np.uint8]

SIDE = 224
"""Longest side of a tile in pixels; smaller images are enlarged by a whole factor."""

OPACITY = 0.6
"""Weight of the map's colour over the image."""

GAP = 4
"""Transparent pixels between tiles."""

STOPS = ((0.0, 0.5, 1.0), ((20, 60, 220), (247, 247, 247), (210, 20, 30)))
"""Values and colours between which a map's colour runs once: blue is low, red is high."""


def colours(values: Array) -> Array:
    """Return the RGB of values in [0, 1], ``[…, 3]`` in 0..255.

    >>> colours(np.array([0.0, 1.0])).tolist()
    [[20.0, 60.0, 220.0], [210.0, 20.0, 30.0]]
    """
    places, stops = STOPS
    channels = [np.interp(values, places, channel) for channel in zip(*stops, strict=True)]
    return np.stack(channels, axis=-1)


def normalised(cells: Array) -> Array:
    """Return a map from 0 to 1 by its own extremes; 0.5 everywhere where it is flat."""
    low, high = float(cells.min()), float(cells.max())
    if high <= low:
        return np.full(cells.shape, 0.5, np.float32)
    return ((cells - low) / (high - low)).astype(np.float32)


def tile(image: Array, cells: Array) -> Picture:
    """Return an image with its map over it, RGB ``[h, w, 3]``.

    Args:
        image: in [0, 1], ``[C, H, W]`` of three channels or of one.
        cells: the map, ``[a, b]``; it is resized to the image by smooth interpolation.
    """
    height, width = image.shape[1:]
    factor = SIDE / max(height, width)
    scale = float(int(factor)) if factor >= 1 else factor
    size = (round(width * scale), round(height * scale))
    eight = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    rgb = eight if len(eight) == 3 else np.repeat(eight[:1], 3, axis=0)
    photo = Image.fromarray(np.moveaxis(rgb, 0, 2)).resize(
        size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    )
    smooth = Image.fromarray(normalised(cells)).resize(size, Image.Resampling.BICUBIC)
    colour = colours(np.clip(np.asarray(smooth), 0, 1))
    blended = (1 - OPACITY) * np.asarray(photo, np.float64) + OPACITY * colour
    return np.rint(blended).astype(np.uint8)


def grid(image: Array, attacked: Array, maps: Sequence[tuple[Array, Array]]) -> Picture:
    """Return one row for each network, clean on the left and attacked on the right, RGBA.

    Args:
        image: as stored, ``[C, H, W]``.
        attacked: the same after the attack.
        maps: of each network, its maps of the clean and the attacked image.
    """
    clean = as_seen(image)
    rows = [(tile(clean, before), tile(attacked, after)) for before, after in maps]
    height, width = rows[0][0].shape[:2]
    whole = np.zeros((len(rows) * (height + GAP) - GAP, 2 * width + GAP, 4), np.uint8)
    for i, row in enumerate(rows):
        for k, picture in enumerate(row):
            top, left = i * (height + GAP), k * (width + GAP)
            whole[top : top + height, left : left + width, :3] = picture
            whole[top : top + height, left : left + width, 3] = 255
    return whole
