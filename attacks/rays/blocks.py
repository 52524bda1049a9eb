"""Blocks of values in RayS: all, then halves, quarters and so on, down to single values."""

from __future__ import annotations

import torch
from torch import Tensor


class Blocks:
    """The block that each row tries now.

    On level s the values, in the order of memory, are cut into 2ˢ blocks. The level of single
    values is repeated until a whole pass has changed nothing: the next one would do the same.

    Args:
        rows: number of rows.
        size: values of an input.
        device: device of the tensors.

    Attributes:
        ended: rows for which there is no block left that could change something, bool ``[B]``.
    """

    def __init__(self, rows: int, size: int, device: torch.device) -> None:
        self._size = size
        self._places = torch.arange(size, device=device)
        self._length = torch.full((rows,), size, device=device)
        self._level = torch.zeros_like(self._length)
        self._first = torch.zeros_like(self._length)
        self._changed = torch.zeros(rows, dtype=torch.bool, device=device)
        self.ended = torch.zeros_like(self._changed)

    def inside(self, rows: Tensor) -> Tensor:
        """Return which values are in the block of each row, bool ``[R, D]``."""
        first, length = self._first[rows].unsqueeze(1), self._length[rows].unsqueeze(1)
        return (self._places >= first) & (self._places < first + length)

    def advance(self, rows: Tensor, changed: Tensor) -> None:
        """Go on to the next block of some rows.

        Args:
            rows: which rows, int64 ``[R]``.
            changed: those of them whose signs have changed.
        """
        self._changed[changed] = True
        self._first[rows] += self._length[rows]
        over = rows[self._first[rows] >= self._size]
        self.ended[over] = (self._length[over] == 1) & ~self._changed[over]
        self._first[over], self._changed[over] = 0, False
        self._level[over] += 1
        # 2ˢ blocks, the last ones shorter or missing where the length is rounded up
        parts = 2 ** self._level[over].clamp_max(62)
        self._length[over] = (self._size + parts - 1) // parts
