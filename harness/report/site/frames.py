"""Tiles of a cell's pictures: images, attacked images, predictions and labels, as one array.

Tiles are thinned by dropping rows and columns, never by averaging: a mean of neighbours would
remove the fine patterns of which attacks consist.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.judge.budget import as_seen
from harness.report.site import palette

COLUMNS = (
    "Image",
    "Attacked image",
    "Difference",
    "Prediction on the image",
    "Prediction on the attacked image",
    "Ground truth",
)
MOST = 4
"""Most images of a cell on its page."""

WIDEST = 240
"""Most pixels of a tile's width."""

FAINTEST = 1e-3
"""Smallest share of the largest amplitude that a spectrum shows."""

_ROUND = (8.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.5, 1.0)
_FACTORS = tuple(ten * digit for ten in (10.0, 1.0, 0.1) for digit in _ROUND)
_STRIPES, _HATCH = 6, 2

Array = NDArray[Any]
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Frames:
    """Some images of a cell, as they are stored.

    Attributes:
        rows: indices of the images in the eval subset, ``n`` of them.
        image: the images as stored, ``[n, C, H, W]``.
        attacked: the attacked images, float32 of the same shape in [0, 1].
        before: classes predicted on the images, ``[n, H, W]``.
        after: classes predicted on the attacked images, ``[n, H, W]``.
        truth: labels, ``[n, H, W]``.
        linf: largest change of each image, ``[n]``.
        mse: mean squared change of each image, ``[n]``.
        mean: mean change of the whole eval subset, ``[C, H, W]``.
        spectrum: mean amplitude of the changes, ``[H, W]``, frequency 0 in the middle.
        void: label of the pixels that are not scored.
    """

    rows: list[int]
    image: Array
    attacked: Array
    before: Array
    after: Array
    truth: Array
    linf: Array
    mse: Array
    mean: Array
    spectrum: Array
    void: int | None


def choose(stored: int) -> list[int]:
    """Return which of the stored images a page shows: at most ``MOST``, evenly spaced.

    >>> choose(8), choose(3), choose(0)
    ([0, 2, 5, 7], [0, 1, 2], [])
    """
    if stored <= MOST:
        return list(range(stored))
    return [round(i * (stored - 1) / (MOST - 1)) for i in range(MOST)]


def factor(frames: Frames) -> float:
    """Return the largest round factor that keeps all differences within range.

    1 where nothing differs. Values lie in [0, 1], so that 0.4 is always small enough.
    """
    return _factor(_change(frames))


def _factor(change: Array) -> float:
    most = float(np.abs(change).max(initial=0.0))
    return next((k for k in _FACTORS if 127 >= k * 255 * most > 0), 1.0)


def step(frames: Frames) -> int:
    """Return the step at which rows and columns are taken."""
    return math.ceil(int(frames.image.shape[3]) / WIDEST)


def _change(frames: Frames) -> Array:
    change: Array = frames.attacked - as_seen(frames.image)
    return change


def compose(frames: Frames, classes: int, k: float) -> Picture:
    """Return all tiles, ``[n x h, 6 x w, 3]``: one row an image, ``COLUMNS`` from left to right.

    Args:
        frames: the images of one cell.
        classes: number of classes.
        k: factor of the differences.
    """
    stride = slice(None, None, step(frames))
    thin = (..., stride, stride)
    colours = palette.table(classes)
    truth = frames.truth[thin]
    void = np.zeros(truth.shape, bool) if frames.void is None else truth == frames.void
    void_colour = palette.rgb([palette.VOID])[0]
    columns = (
        _photo(as_seen(frames.image)[thin] * 255),
        _photo(frames.attacked[thin] * 255),
        _photo(127 + k * 255 * _change(frames)[thin]),
        _hatch(colours[_class_indices(frames.before[thin], classes)], void),
        _hatch(colours[_class_indices(frames.after[thin], classes)], void),
        np.where(void[..., None], void_colour, colours[_class_indices(truth, classes)]),
    )
    return np.concatenate([np.concatenate(row, axis=1) for row in zip(*columns, strict=True)])


def compose_common(frames: Frames) -> tuple[Picture, float]:
    """Return the tiles of the whole eval subset, ``[H, 2 x W, 3]``, and the factor of the first.

    The left tile is the mean change, the right one the mean amplitude spectrum on a logarithmic
    scale, from ``FAINTEST`` of the largest amplitude (black) to the largest (white). Both keep all
    pixels, because a spectrum cannot be thinned.
    """
    k = _factor(frames.mean)
    peak = float(frames.spectrum.max(initial=0.0))
    level = np.clip(frames.spectrum / peak if peak else frames.spectrum, FAINTEST, 1)
    grey = 255 * (1 - np.log10(level) / math.log10(FAINTEST))
    both = (_photo(127 + k * 255 * frames.mean[None])[0], _photo(grey[None, None])[0])
    return np.concatenate(both, axis=1), k


def _photo(values: Array) -> Picture:
    """Convert ``[n, C, h, w]`` in 0..255 to ``[n, h, w, 3]``: RGB, or channel 0 in grey."""
    eight = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    coloured = eight if eight.shape[1] == 3 else np.repeat(eight[:, :1], 3, axis=1)
    return np.moveaxis(coloured, 1, 3)


def _class_indices(seen: Array, classes: int) -> Array:
    wide = seen.astype(np.int64)
    return np.where((wide < 0) | (wide >= classes), classes, wide)


def _hatch(coloured: Picture, void: Array) -> Picture:
    """Darken and hatch the pixels without a label, which are not scored."""
    line, column = np.indices(void.shape[1:])
    stripe = (line + column) % _STRIPES < _HATCH
    light = np.where(void, np.where(stripe, 0.2, 0.55), 1.0)
    return (coloured * light[..., None]).astype(np.uint8)
