"""Lengths, dual lengths and projections in L2 and L∞ (table 1 of the FMN paper)."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.runtime.gradients import like_rows, steepest

ORDER = {"l2": 2.0, "linf": torch.inf}
"""Norm → its p."""
DUAL = {"l2": 2.0, "linf": 1.0}
"""Norm → q, with 1/p + 1/q = 1."""


def lengths(change: Tensor, norm: str) -> Tensor:
    """Return the length of each row in the norm, ``[B]``."""
    found: Tensor = torch.linalg.vector_norm(change.flatten(1), ord=ORDER[norm], dim=1)
    return found


def dual_lengths(gradient: Tensor, norm: str) -> Tensor:
    """Return the length of each row in the dual norm, ``[B]``.

    A linear function falls by no more than this in a change of length 1.

    >>> dual_lengths(torch.tensor([[3.0, -4.0]]), "linf")
    tensor([7.])
    """
    found: Tensor = torch.linalg.vector_norm(gradient.flatten(1), ord=DUAL[norm], dim=1)
    return found


def project(change: Tensor, radius: Tensor, norm: str) -> Tensor:
    """Return the nearest change of at most a length, shaped as ``change``.

    Args:
        change: float32 ``[B, …]``.
        radius: largest length of each row, ``[B]``.
        norm: ``l2`` or ``linf``.

    >>> project(torch.tensor([[3.0, -4.0], [0.3, -0.4]]), torch.tensor([1.0, 1.0]), "l2")
    tensor([[ 0.6000, -0.8000],
            [ 0.3000, -0.4000]])
    """
    limit = like_rows(radius, change)
    if norm == "linf":
        return torch.minimum(torch.maximum(change, -limit), limit)
    outside = like_rows(lengths(change, norm) > radius, change)
    return torch.where(outside, onto_sphere(change, radius), change)


def onto_sphere(change: Tensor, radius: Tensor) -> Tensor:
    """Return each row brought to the Euclidean length ``radius``, ``[B]``; zero stays zero.

    >>> onto_sphere(torch.tensor([[0.3, -0.4], [0.0, 0.0]]), torch.tensor([1.0, 1.0]))
    tensor([[ 0.6000, -0.8000],
            [ 0.0000,  0.0000]])
    """
    return like_rows(radius, change) * steepest(change, "l2")
