"""Common part of an attack's perturbations: large if the attack ignores its input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.judge.budget import Array, as_seen

Floats = NDArray[np.float64]

_CHUNK = 1_000_000  # numbers held as float64 at once


@dataclass(frozen=True)
class Common:
    """Common part of the changes δ of N examples.

    Attributes:
        share: mean inner product of two different examples' changes over the mean square of one:
            1 for equal changes, about 0 for unrelated ones, at least −1 / (N − 1). NaN with fewer
            than two examples or without any change.
        mean: mean change, in the examples' shape.
        spectrum: mean of |DFT of δ| over examples and channels ``[H, W]``, frequency 0 in the
            middle (row H // 2, column W // 2); ``[0, 0]`` for features.
    """

    share: float
    mean: Floats
    spectrum: Floats


def common(clean: Array, attacked: Array) -> Common:
    """Compute the common part of all changes.

    Args:
        clean: as stored, ``[N, C, H, W]`` or ``[N, F]``; read a few rows at a time.
        attacked: float32 of the same shape. Values that are not finite make a share of NaN.

    >>> same = np.full((3, 1, 2, 2), 0.5, np.float32)
    >>> common(np.zeros((3, 1, 2, 2), np.float32), same).share
    1.0
    """
    shape = clean.shape[1:]
    images = len(shape) == 3
    total = np.zeros(shape)
    spectrum = np.zeros(shape[1:] if images else (0, 0))
    energy = 0.0
    step = max(1, _CHUNK // math.prod(shape))
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(clean), step):
            rows = slice(start, start + step)
            change = attacked[rows].astype(np.float64) - as_seen(clean[rows])
            total += change.sum(axis=0)
            energy += float(np.square(change).sum())
            if images:
                spectrum += np.abs(np.fft.fft2(change)).mean(axis=1).sum(axis=0)
        between = float(np.square(total).sum()) - energy
    n = max(1, len(clean))
    share = between / ((n - 1) * energy) if n > 1 and energy > 0 else math.nan
    return Common(share, total / n, np.fft.fftshift(spectrum / n))
