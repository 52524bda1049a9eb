"""Batches of row numbers, and of the rows that an attack was handed of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Rows of one call of an attack's hook.

    Attributes:
        rows: numbers of the rows among those of the stage, int64 ``[B]``.
        first: number of the whole batch's first row, in the eval subset.
        size: rows of the whole batch.
        places: places of the rows in the whole batch, int64 ``[B]``.
    """

    rows: Tensor
    first: int
    size: int
    places: Tensor


def batches(examples: int, size: int) -> Iterator[Tensor]:
    """Return row numbers batch by batch, in order."""
    for start in range(0, examples, size):
        yield torch.arange(start, min(start + size, examples))


def handed(rows: Tensor, examples: int, size: int) -> Iterator[Batch]:
    """Return the batches of an eval subset with the rows of each that were handed over.

    A batch of which none was is left out, so that the numbers that are drawn for a row, and the
    seed of its batch, are the same as if all were there.

    Args:
        rows: numbers of the rows in the eval subset, in order, int64 ``[N]``.
        examples: number of all rows of the eval subset.
        size: rows of a batch.

    >>> [(b.rows.tolist(), b.first, b.places.tolist()) for b in handed(torch.tensor([1, 6]), 8, 3)]
    [([0], 0, [1]), ([1], 6, [0])]
    """
    for whole in batches(examples, size):
        first = int(whole[0])
        here = ((rows >= first) & (rows < first + len(whole))).nonzero().flatten()
        if len(here):
            yield Batch(here, first, len(whole), rows[here] - first)
