"""Proximal operators of norms: the z that minimises ``reach · ‖z‖ + ½ ‖z − change‖₂²``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.runtime.gradients import like_rows

ORDER = {"l2": 2.0, "linf": torch.inf}
"""Norm → its p."""


def lengths(change: Tensor, norm: str) -> Tensor:
    """Return the length of each row in the norm, ``[B]``."""
    found: Tensor = torch.linalg.vector_norm(change.flatten(1), ord=ORDER[norm], dim=1)
    return found


def proximal_l2(change: Tensor, reach: Tensor) -> Tensor:
    """Return each row shortened by ``reach``, or zero.

    Args:
        change: float32 ``[B, …]``.
        reach: weight of the norm, ``[B]``.

    >>> proximal_l2(torch.tensor([[3.0, -4.0], [0.3, 0.4]]), torch.tensor([1.0, 1.0]))
    tensor([[ 2.4000, -3.2000],
            [ 0.0000,  0.0000]])
    """
    size = lengths(change, "l2").clamp_min(torch.finfo(change.dtype).tiny)
    return change * like_rows((1 - reach / size).clamp_min(0), change)


def proximal_linf(change: Tensor, reach: Tensor) -> Tensor:
    """Return each row with its largest values cut by ``reach`` in all, or zero.

    By Moreau's decomposition it is what the projection onto the L1 ball of radius ``reach`` leaves.

    Args:
        change: float32 ``[B, …]``.
        reach: weight of the norm, ``[B]``.

    >>> proximal_linf(torch.tensor([[3.0, -4.0, 1.0]]), torch.tensor([3.0]))
    tensor([[ 2., -2.,  1.]])
    """
    return change - project_l1(change.flatten(1), reach).reshape(change.shape)


def project_l1(x: Tensor, radius: Tensor) -> Tensor:
    """Return the nearest point of each row in the L1 ball of a radius, ``[B, D]``.

    Every magnitude falls by one threshold, and none below zero. Values below the threshold of the
    others drop out, until none does (Michelot 1986); the end is exact and reached in few rounds.
    It begins with the values that the ball's radius alone lets be above it.

    Args:
        x: float32 ``[B, D]``.
        radius: of the ball, ``[B]``.

    >>> project_l1(torch.tensor([[3.0, -4.0, 1.0], [0.1, 0.2, 0.3]]), torch.tensor([3.0, 1.0]))
    tensor([[ 1.0000, -2.0000,  0.0000],
            [ 0.1000,  0.2000,  0.3000]])
    """
    size = x.abs()
    largest = size.amax(dim=1)
    moving = size >= (largest - radius)[:, None]
    while True:
        excess = size.masked_fill(~moving, 0).sum(1) - radius
        # rounding of a mean must not raise it above all values
        threshold = torch.minimum(excess / moving.sum(1), largest)
        still = moving & (size >= threshold[:, None])
        if torch.equal(still, moving):
            break
        moving = still
    threshold = torch.where(size.sum(1) > radius, threshold, 0)
    return x.sign() * (size - threshold[:, None]).clamp_min(0)


PROXIMAL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l2": proximal_l2, "linf": proximal_linf}
"""Norm → its proximal operator."""
