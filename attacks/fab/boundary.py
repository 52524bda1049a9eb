"""The nearest point of a hyperplane inside the box [0, 1], in L∞ or L2 (sections 2.1 and 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor


def step_to_hyperplane(x: Tensor, w: Tensor, r: Tensor, norm: str) -> Tensor:
    """Return the smallest change ``d`` with ``<w, d> = r`` that stays in the box, ``[B, D]``.

    A value moves along the sign of ``r w`` until it stands at its end of the box: in L∞ all values
    at one speed, in L2 in proportion to ``|w|``. What they gain together is concave and piecewise
    linear in the length of the move, so that Newton's method from 0 finds the length at which they
    gain ``|r|`` in a few steps, exactly. If the box ends before, every value stands at its end.

    Args:
        x: points in [0, 1], ``[B, D]``.
        w: normals of the hyperplanes, ``[B, D]``.
        r: what ``<w, d>`` must be, ``[B]``.
        norm: ``linf`` or ``l2``.

    >>> x, w = torch.tensor([[0.5, 0.9, 0.5]]), torch.tensor([[1.0, 1.0, 0.0]])
    >>> step_to_hyperplane(x, w, torch.tensor([0.3]), "linf")
    tensor([[0.2000, 0.1000, 0.0000]])
    >>> step_to_hyperplane(x, w, torch.tensor([9.0]), "l2")
    tensor([[0.5000, 0.1000, 0.0000]])
    """
    direction, weight = w.sign() * r.sign()[:, None], w.abs()
    room = torch.where(direction > 0, 1 - x, torch.where(direction < 0, x, 0))
    speed = torch.ones_like(w) if norm == "linf" else weight
    whole, slopes = weight * room, weight * speed
    moving = room > 0
    while True:
        gained = whole.masked_fill(moving, 0).sum(1)
        slope = slopes.masked_fill(~moving, 0).sum(1)
        length = ((r.abs() - gained) / slope)[:, None]
        still = moving & (length * speed < room)
        if torch.equal(still, moving):
            return direction * torch.where(moving, length * speed, room)
        moving = still


def lengths(change: Tensor, norm: str) -> Tensor:
    """Return the length of each change ``[B, D]``, float64 ``[B]``."""
    order = torch.inf if norm == "linf" else 2
    found: Tensor = torch.linalg.vector_norm(change.double(), ord=order, dim=1)
    return found
