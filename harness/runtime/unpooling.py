"""Max pooling that remembers places, and its way back: the same bits on every device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Places:
    """Where the maxima of a pooling were.

    Attributes:
        index: flat places in the map, int64 ``[B, C, h, w]``; in a channel, no two are the same.
        lost: cells whose maximum a later cell has too, bool like ``index``; ``None``: no windows
            overlap.
        size: height and width of the map.
    """

    index: Tensor
    lost: Tensor | None
    size: tuple[int, int]


def pool(x: Tensor, side: int) -> tuple[Tensor, Places]:
    """Maxima of windows two apart, ``[B, C, h, w]``, and their places.

    Where windows overlap, several cells may hold one maximum. Its place then belongs to the last of
    them, as in ``max_unpool2d`` on one CPU core; elsewhere that takes whichever is written last.

    Args:
        x: ``[B, C, H, W]``.
        side: of the windows: 2, or 3 with a border of 1 (then H and W are even).

    Raises:
        ValueError: another side, or overlapping windows on an odd map.
    """
    height, width = x.shape[2:]
    if side not in (2, 3) or (side == 3 and (height % 2 or width % 2)):
        raise ValueError(f"windows of {side}x{side} on {height}x{width}: 2, or 3 on even sides")
    values, index = F.max_pool2d(x, side, stride=2, padding=side - 2, return_indices=True)
    if side == 2:
        return values, Places(index, None, (height, width))
    lost = torch.zeros_like(index, dtype=torch.bool)
    lost[..., :-1] |= index[..., :-1] == index[..., 1:]
    lost[..., :-1, :] |= index[..., :-1, :] == index[..., 1:, :]
    lost[..., :-1, :-1] |= index[..., :-1, :-1] == index[..., 1:, 1:]
    lost[..., :-1, 1:] |= index[..., :-1, 1:] == index[..., 1:, :-1]
    # nothing may be written twice: to their own middle, then, which no other window holds
    rows, columns = (torch.arange(0, n, 2, device=x.device) for n in (height, width))
    index = torch.where(lost, rows[:, None] * width + columns, index)
    return values, Places(index, lost, (height, width))


def unpool(x: Tensor, places: Places) -> Tensor:
    """Values at their places, zero elsewhere, ``[B, C, H, W]``.

    >>> values, places = pool(torch.tensor([[[[1.0, 2.0, 5.0], [4.0, 3.0, 0.0]]]]), 2)
    >>> unpool(values, places).tolist()
    [[[[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]]]]
    """
    if places.lost is not None:
        x = x.masked_fill(places.lost, 0)
    return F.max_unpool2d(x, places.index, [2, 2], stride=[2, 2], output_size=places.size)
