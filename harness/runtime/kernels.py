"""Convolution weights of a network: ranked all together, and partly frozen in a training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn


def kernels(network: nn.Module, head: str = "") -> dict[str, Tensor]:
    """Return the weights of all two-dimensional convolutions, by their names.

    Args:
        network: any network.
        head: path of the last layer, which is left out: a student replaces it.
    """
    return {
        f"{path}.weight": module.weight
        for path, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and not (head and f"{path}.".startswith(f"{head}."))
    }


def share_of(count: int, share: float) -> int:
    """Return ⌊share · count⌋ of the share as it was written, not as binary rounds it.

    >>> int(0.29 * 100), share_of(100, 0.29), share_of(10, 1.0)
    (28, 29, 10)
    """
    return math.floor(share * count + 1e-9)


def lowest(scores: Sequence[Tensor], count: int) -> list[Tensor]:
    """Return masks of the lowest scores of all layers together, true in exactly ``count`` entries.

    Args:
        scores: one tensor for each layer; of equal scores the earlier comes first.
        count: number of entries, at most that of all scores.

    >>> [mask.tolist() for mask in lowest([torch.tensor([3.0, 1.0]), torch.tensor([2.0])], 2)]
    [[False, True], [True]]
    """
    flat = torch.cat([score.flatten() for score in scores])
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    chosen[flat.argsort(stable=True)[:count]] = True
    parts = torch.split(chosen, [score.numel() for score in scores])
    return [part.view_as(score) for part, score in zip(parts, scores, strict=True)]


class Frozen:
    """Entries of parameters that a training must not change.

    Args:
        parameters: parameters, with the values that the frozen entries keep.
        masks: bool tensor for each, true for frozen entries.
    """

    def __init__(self, parameters: Sequence[Tensor], masks: Sequence[Tensor]) -> None:
        self.entries = [
            (parameter, parameter.detach().clone(), mask)
            for parameter, mask in zip(parameters, masks, strict=True)
        ]

    @contextmanager
    def without_gradient(self) -> Iterator[None]:
        """Set the gradient of the frozen entries to zero inside a block.

        They still move by weight decay, and by the momentum of that; ``restore`` undoes it.
        """
        handles = [
            parameter.register_hook(partial(_masked, mask))  # type: ignore[no-untyped-call]
            for parameter, _, mask in self.entries
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def restore(self) -> None:
        """Set the frozen entries to their values, as a recipe's ``project`` does at each step."""
        with torch.no_grad():
            for parameter, kept, mask in self.entries:
                parameter.copy_(torch.where(mask, kept, parameter))


def _masked(mask: Tensor, gradient: Tensor) -> Tensor:
    return gradient.masked_fill(mask, 0)
