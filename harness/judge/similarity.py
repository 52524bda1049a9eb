"""Structural similarity (SSIM) of two images: 1 for equal ones.

Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE Transactions on Image Processing 13 (2004) 600, with the paper's settings: an
11 x 11 Gaussian window of σ = 1.5, K1 = 0.01, K2 = 0.03, range 1. Colours are channels of equal
weight. Only windows inside the image count, as in the authors' code: padding at the border would
compare pixels that neither image has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WINDOW = 11
"""Side of the window in pixels; an image with a shorter side has no SSIM."""

_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2
_REACH = WINDOW // 2
_WEIGHTS = np.exp(-0.5 * (np.arange(-_REACH, _REACH + 1) / _SIGMA) ** 2)
_WEIGHTS /= _WEIGHTS.sum()


def similarity(first: Floats, second: Floats) -> Floats:
    """Compute the SSIM of each pair of images, as mean over channels and valid windows.

    Args:
        first: float64 ``[N, C, H, W]``, values in [0, 1].
        second: of the same shape.

    Returns:
        float64 ``[N]`` in [−1, 1]; NaN for images smaller than the window.

    >>> ramp = np.linspace(0, 1, 144).reshape(1, 1, 12, 12)
    >>> similarity(ramp, ramp).tolist(), similarity(ramp[..., :10], ramp[..., :10]).tolist()
    ([1.0], [nan])
    """
    if min(first.shape[2:]) < WINDOW:
        return np.full(len(first), np.nan)
    # One image at a time: its six arrays stay in the CPU cache, and memory does not grow with N.
    return np.array([_ssim(a, b) for a, b in zip(first, second, strict=True)])


def _ssim(first: Floats, second: Floats) -> float:
    """Compute the SSIM of two images ``[C, H, W]``: ``(2μaμb + C1)(2σab + C2)`` over its bound."""
    mean_a, mean_b = _window_means(first), _window_means(second)
    product = mean_a * mean_b
    squares = mean_a * mean_a + mean_b * mean_b
    # The formula needs only the sum of the variances, so one filter pass serves both.
    variances = _window_means(first * first + second * second) - squares
    covariance = _window_means(first * second) - product
    top = (2 * product + _C1) * (2 * covariance + _C2)
    return float((top / ((squares + _C1) * (variances + _C2))).mean())


def _window_means(image: Floats) -> Floats:
    """Compute the weighted means of all windows inside the image, ``[C, H − 10, W − 10]``."""
    from scipy.ndimage import correlate1d  # a quarter of a command's start, for plans alone

    rows = correlate1d(image, _WEIGHTS, axis=1)[:, _REACH:-_REACH]
    means: Floats = correlate1d(rows, _WEIGHTS, axis=2)[:, :, _REACH:-_REACH]
    return means
