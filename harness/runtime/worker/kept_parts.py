"""Small results of many batches, kept in one block of memory."""

from __future__ import annotations

from torch import Tensor


def keep(parts: list[Tensor], part: Tensor, examples: int, dim: int = 0) -> None:
    """Append a copy of a batch's part to those of earlier batches, in one block of memory for all.

    Small tensors that stay, between large ones that go, would keep the memory of the latter in
    use: with pictures of 224 pixels 15 MB a batch.

    Args:
        parts: parts of earlier batches, views of the block.
        part: part to keep.
        examples: length of the whole along ``dim``.
        dim: dimension along which the parts follow each other.
    """
    done = sum(one.shape[dim] for one in parts)
    shape = (*part.shape[:dim], examples, *part.shape[dim + 1 :])
    whole = parts[0]._base if parts else part.new_empty(shape)
    assert whole is not None
    parts.append(whole.narrow(dim, done, part.shape[dim]).copy_(part))
