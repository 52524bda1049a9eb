"""Random resizing and zero padding, for each row its own (Xie et al. 2019, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor


def resize_and_pad(x: Tensor, chances: Tensor, probability: float, resize_rate: float) -> Tensor:
    """Resize rows, pad them with zeros and bring them back to their side.

    With R = round(``resize_rate`` × side), a row gets a random side from the smaller of side and R
    up to the larger, without that, and is put at a random place on a black picture of the larger,
    which is resized to the input's side if it has another. Sides that are not equal change alike.
    Resizing is bilinear.

    Args:
        x: float32 ``[B, C, H, W]``.
        chances: uniform in [0, 1), ``[B, 4]``: of side, rows above, columns to the left, and of
            whether a row changes at all.
        probability: the probability that it does.
        resize_rate: above or below 1.
    """
    chances = chances.to(x.device)
    changes = chances[:, 3] < probability
    vertical = _matrix(x.shape[2], resize_rate, chances[:, 0], chances[:, 1], changes)
    horizontal = _matrix(x.shape[3], resize_rate, chances[:, 0], chances[:, 2], changes)
    return vertical[:, None] @ x @ horizontal[:, None].mT


def _matrix(side: int, rate: float, size: Tensor, place: Tensor, changes: Tensor) -> Tensor:
    """Return the map from the numbers of a column to those of the new one, ``[B, side, side]``."""
    other = max(1, round(rate * side))
    low, high = min(side, other), max(side, other)
    sizes = low + (size * (high - low)).floor()
    offsets = (place * (high - sizes + 1)).floor()
    padded = interpolation(side, sizes, offsets, high)
    back = interpolation(high, sizes.new_tensor([side]), sizes.new_zeros(1), side)
    return torch.where(changes[:, None, None], back @ padded, torch.eye(side, device=size.device))


def interpolation(side: int, sizes: Tensor, offsets: Tensor, length: int) -> Tensor:
    """Return bilinear resizing of one axis as matrices ``[B, length, side]``.

    Args:
        side: numbers before.
        sizes: numbers after, whole, ``[B]``.
        offsets: zeros before the first of them, ``[B]``.
        length: numbers with the zeros.

    >>> interpolation(2, torch.tensor([4.0]), torch.tensor([1.0]), 5)[0]
    tensor([[0.0000, 0.0000],
            [1.0000, 0.0000],
            [0.7500, 0.2500],
            [0.2500, 0.7500],
            [0.0000, 1.0000]])
    """
    position = torch.arange(length, device=sizes.device) - offsets[:, None]
    inside = (position >= 0) & (position < sizes[:, None])
    source = ((position + 0.5) * (side / sizes)[:, None] - 0.5).clamp(0, side - 1)
    distance = (source[:, :, None] - torch.arange(side, device=sizes.device)).abs()
    return (1 - distance).clamp_min(0) * inside[:, :, None]
