"""Gaussian smoothing of gradients, in place of gradients of shifted inputs (Dong et al. 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def smooth(gradient: Tensor, size: int, sigma: float) -> Tensor:
    """Return a gradient convolved with the kernel; beyond the edges are zeros.

    Args:
        gradient: float32 ``[B, C, H, W]``.
        size: side of the kernel, odd; 1 changes nothing.
        sigma: its standard deviation, as a share of ``(size − 1) / 2``.
    """
    if size == 1:
        return gradient
    channels = gradient.shape[1]
    weight = kernel(size, sigma).to(gradient).expand(channels, 1, size, size)
    return F.conv2d(gradient, weight, padding=size // 2, groups=channels)


def kernel(size: int, sigma: float) -> Tensor:
    """Return the Gaussian kernel, float64 ``[size, size]``, whose sum is 1.

    >>> kernel(3, 1.0)
    tensor([[0.0751, 0.1238, 0.0751],
            [0.1238, 0.2042, 0.1238],
            [0.0751, 0.1238, 0.0751]], dtype=torch.float64)
    """
    radius = size // 2
    shift = torch.arange(-radius, radius + 1, dtype=torch.float64)
    row = torch.exp(-(shift**2) / (2 * (sigma * radius) ** 2))
    square = torch.outer(row, row)
    return square / square.sum()
