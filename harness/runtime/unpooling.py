"""Max pooling with indices, and max unpooling: the same bits on every device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Places:
    """Positions of the maxima of a pooling.

    Attributes:
        index: flat positions in the map, int64 ``[B, C, h, w]``; unique within a channel.
        lost: cells whose maximum belongs to a later cell as well, bool like ``index``; ``None`` if
            windows do not overlap.
        size: height and width of the map.
    """

    index: Tensor
    lost: Tensor | None
    size: tuple[int, int]


def pool(x: Tensor, side: int) -> tuple[Tensor, Places]:
    """Return the maxima of windows with stride 2, ``[B, C, h, w]``, and their positions.

    Where windows overlap, several cells may have the same maximum. Its position then belongs to the
    last of them, as in ``max_unpool2d`` on one CPU core; with more cores or on a GPU, the order of
    writing would decide.

    Args:
        x: ``[B, C, H, W]``.
        side: side of the windows: 2, or 3 with padding 1 (H and W must be even then).

    Raises:
        ValueError: another side, or overlapping windows on a map with an odd side.
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
    # no position may be written twice: lost cells write to their own centre, which is in no other
    # window
    rows, columns = (torch.arange(0, n, 2, device=x.device) for n in (height, width))
    index = torch.where(lost, rows[:, None] * width + columns, index)
    return values, Places(index, lost, (height, width))


def unpool(x: Tensor, places: Places) -> Tensor:
    """Return a map with the values at their positions and zero elsewhere, ``[B, C, H, W]``.

    Args:
        x: values ``[B, C, h, w]``.
        places: positions that ``pool`` returned.

    >>> values, places = pool(torch.tensor([[[[1.0, 2.0, 5.0], [4.0, 3.0, 0.0]]]]), 2)
    >>> unpool(values, places).tolist()
    [[[[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]]]]
    """
    if places.lost is not None:
        x = x.masked_fill(places.lost, 0)
    return F.max_unpool2d(x, places.index, [2, 2], stride=[2, 2], output_size=places.size)
