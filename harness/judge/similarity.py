"""Structural similarity (SSIM): how alike two pictures look, 1 for equal ones.

Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE Transactions on Image Processing 13 (2004) 600, with the paper's settings: an
11 x 11 Gaussian window of σ = 1.5, K1 = 0.01, K2 = 0.03, range 1. Colours are channels of equal
weight. Only windows that lie wholly inside the picture count (the authors' code does the same): at
a border any padding would compare what neither picture shows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

Floats = NDArray[np.float64]

WINDOW = 11
"""Side of the window in pixels; a picture with a shorter side has no SSIM."""

_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2
_REACH = WINDOW // 2
_WEIGHTS = np.exp(-0.5 * (np.arange(-_REACH, _REACH + 1) / _SIGMA) ** 2)
_WEIGHTS /= _WEIGHTS.sum()


def similarity(first: Floats, second: Floats) -> Floats:
    """SSIM of each pair of pictures, mean over channels and over the valid region.

    Args:
        first: float64 ``[N, C, H, W]``, values in [0, 1]. second: of the same shape.

    Returns:
        float64 ``[N]`` in [−1, 1]; NaN for pictures smaller than the window.

    >>> ramp = np.linspace(0, 1, 144).reshape(1, 1, 12, 12)
    >>> similarity(ramp, ramp).tolist(), similarity(ramp[..., :10], ramp[..., :10]).tolist()
    ([1.0], [nan])
    """
    if min(first.shape[2:]) < WINDOW:
        return np.full(len(first), np.nan)
    # One picture at a time: its six arrays stay in the cache, and memory does not grow with N.
    return np.array([_one(a, b) for a, b in zip(first, second, strict=True)])


def _one(first: Floats, second: Floats) -> float:
    """SSIM of two pictures ``[C, H, W]``: ``(2μaμb + C1)(2σab + C2)`` over its bound."""
    mean_a, mean_b = _blurred(first), _blurred(second)
    product = mean_a * mean_b
    squares = mean_a * mean_a + mean_b * mean_b
    # The formula needs the variances' sum only, so one blur does for both.
    variances = _blurred(first * first + second * second) - squares
    covariance = _blurred(first * second) - product
    top = (2 * product + _C1) * (2 * covariance + _C2)
    return float((top / ((squares + _C1) * (variances + _C2))).mean())


def _blurred(image: Floats) -> Floats:
    """Weighted means of all windows inside the picture, ``[C, H − 10, W − 10]``."""
    rows = correlate1d(image, _WEIGHTS, axis=1)[:, _REACH:-_REACH]
    blurred: Floats = correlate1d(rows, _WEIGHTS, axis=2)[:, :, _REACH:-_REACH]
    return blurred
