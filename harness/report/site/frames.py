"""A cell's pictures: a few of its images and what became of them, as one array of tiles.

Tiles are made by leaving out lines and columns, never by averaging: a mean of neighbours would take
away just the fine patterns that attacks are made of.
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
"""Images of a cell that are shown."""

WIDEST = 240
"""Pixels of a tile's width."""

FAINTEST = 1e-3
"""Share of the largest amplitude that a spectrum still tells from nothing."""

_ROUND = (8.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.5, 1.0)
_FACTORS = tuple(ten * one for ten in (10.0, 1.0, 0.1) for one in _ROUND)
_STRIPES, _HATCH = 6, 2

Array = NDArray[Any]
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Frames:
    """Some images of a cell, as they lie in the artefact store.

    Attributes:
        rows: int ``[n]``, their numbers in the slice. void: label of pixels that do not count.
        image: as stored, ``[n, C, H, W]``. attacked: float32 of the same shape, in [0, 1].
        before: classes predicted on the image ``[n, H, W]``. after: on the attacked one.
        truth: labels ``[n, H, W]``. linf: largest change of each ``[n]``. mse: mean square.
        mean: mean change of the whole slice ``[C, H, W]``. spectrum: the changes' mean amplitude
            ``[H, W]``, frequency 0 in the middle.
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


def chosen(kept: int) -> list[int]:
    """Which of the kept images are shown: at most ``MOST``, evenly spaced, the same for all cells.

    >>> chosen(8), chosen(3), chosen(0)
    ([0, 2, 5, 7], [0, 1, 2], [])
    """
    if kept <= MOST:
        return list(range(kept))
    return [round(i * (kept - 1) / (MOST - 1)) for i in range(MOST)]


def factor(frames: Frames) -> float:
    """What differences are multiplied by: the largest round number that keeps all within range.

    1 where nothing differs. Values lie in [0, 1], so that 0.4 is always small enough.
    """
    return _factor(_change(frames))


def _factor(change: Array) -> float:
    most = float(np.abs(change).max(initial=0.0))
    return next((k for k in _FACTORS if 127 >= k * 255 * most > 0), 1.0)


def step(frames: Frames) -> int:
    """Every so many-th line and column is shown."""
    return math.ceil(int(frames.image.shape[3]) / WIDEST)


def _change(frames: Frames) -> Array:
    change: Array = frames.attacked - as_seen(frames.image)
    return change


def compose(frames: Frames, classes: int, k: float) -> Picture:
    """All tiles, ``[n x h, 6 x w, 3]``: one row an image, ``COLUMNS`` from left to right.

    Args:
        frames: of one cell. classes: K. k: what differences are multiplied by.
    """
    every = step(frames)
    thin = (..., slice(None, None, every), slice(None, None, every))
    colours = palette.table(classes)
    truth = frames.truth[thin]
    void = np.zeros(truth.shape, bool) if frames.void is None else truth == frames.void
    columns = (
        _photo(as_seen(frames.image)[thin] * 255),
        _photo(frames.attacked[thin] * 255),
        _photo(127 + k * 255 * _change(frames)[thin]),
        _hatched(colours[_named(frames.before[thin], classes)], void),
        _hatched(colours[_named(frames.after[thin], classes)], void),
        np.where(void[..., None], palette.rgb([palette.VOID])[0], colours[_named(truth, classes)]),
    )
    return np.concatenate([np.concatenate(row, axis=1) for row in zip(*columns, strict=True)])


def compose_common(frames: Frames) -> tuple[Picture, float]:
    """What the whole slice has in common, ``[H, 2 x W, 3]``, and its first tile's factor.

    Left the mean change; right the mean amplitude of frequencies from ``FAINTEST`` of the largest
    (black) to the largest (white), on a logarithmic scale. All pixels: of a spectrum none may go.
    """
    k = _factor(frames.mean)
    peak = float(frames.spectrum.max(initial=0.0))
    level = np.clip(frames.spectrum / peak if peak else frames.spectrum, FAINTEST, 1)
    grey = 255 * (1 - np.log10(level) / math.log10(FAINTEST))
    both = (_photo(127 + k * 255 * frames.mean[None])[0], _photo(grey[None, None])[0])
    return np.concatenate(both, axis=1), k


def _photo(values: Array) -> Picture:
    """``[n, C, h, w]`` in 0..255 as RGB ``[n, h, w, 3]``; what is not RGB is grey, channel 0."""
    eight = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    coloured = eight if eight.shape[1] == 3 else np.repeat(eight[:, :1], 3, axis=1)
    return np.moveaxis(coloured, 1, 3)


def _named(seen: Array, classes: int) -> Array:
    wide = seen.astype(np.int64)
    return np.where((wide < 0) | (wide >= classes), classes, wide)


def _hatched(coloured: Picture, void: Array) -> Picture:
    """Darkened, with stripes, where there is no label: those pixels count for nothing."""
    line, column = np.indices(void.shape[1:])
    stripe = (line + column) % _STRIPES < _HATCH
    light = np.where(void, np.where(stripe, 0.2, 0.55), 1.0)
    return (coloured * light[..., None]).astype(np.uint8)
