"""Batches of row numbers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def batches(examples: int, size: int) -> Iterator[Tensor]:
    """Return row numbers batch by batch, in order."""
    for start in range(0, examples, size):
        yield torch.arange(start, min(start + size, examples))
