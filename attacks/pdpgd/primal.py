"""The primal player's step: Adam, and a proximal step in Adam's own metric (AdaProx)."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.runtime.gradients import like_rows

from .proximal import PROXIMAL, lengths

BETAS = (0.9, 0.999)
"""Shares of Adam's moving averages that a step keeps."""
EPSILON = 1e-8
"""What Adam adds to the root of the second moment."""
LARGEST = 1e15
"""Magnitude above which a gradient is cut."""
CONVERGED = 0.01
"""Change of a proximal iteration, as a share of the result's length, at which it ends."""


class Adam:
    """Moving averages of gradients and of their squares (Kingma and Ba, ICLR 2015).

    Args:
        x: inputs, whose shape and device the averages have.
    """

    def __init__(self, x: Tensor) -> None:
        self.first, self.second, self.steps = torch.zeros_like(x), torch.zeros_like(x), 0

    def direction(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Take in a gradient ``[B, …]``; return the step to subtract, and what it was divided by.

        NaN counts as zero, and numbers whose squares leave float32 as the largest that do not.
        """
        gradient = gradient.nan_to_num(0).clamp(-LARGEST, LARGEST)
        self.steps += 1
        self.first = torch.lerp(gradient, self.first, BETAS[0])
        self.second = torch.lerp(gradient.square(), self.second, BETAS[1])
        mean = self.first / (1 - BETAS[0] ** self.steps)
        curvature = (self.second / (1 - BETAS[1] ** self.steps)).sqrt() + EPSILON
        return mean / curvature, curvature


def shorten(
    start: Tensor, x: Tensor, curvature: Tensor, weight: Tensor, norm: str, steps: int
) -> Tensor:
    """Return inputs nearer to ``x`` that are still near ``start``, in [0, 1].

    They minimise ``weight · ‖z − x‖ + ½ Σ curvature · (z − start)²`` by proximal gradient descent
    (algorithm 2 of Melchior, Joseph and Moolekamp, arXiv 1910.10094). A row ends by itself.

    Args:
        start: inputs after the gradient step, ``[B, …]``.
        x: clean inputs in [0, 1].
        curvature: weights of the values, positive, ``[B, …]``.
        weight: weight of the distance, ``[B]``.
        norm: of the distance, ``l2`` or ``linf``.
        steps: most iterations.
    """
    largest = curvature.flatten(1).amax(dim=1)
    metric, reach = curvature / like_rows(largest, x), weight / largest
    found, active = start, torch.ones_like(weight, dtype=torch.bool)
    for _ in range(steps):
        pulled = found - metric * (found - start) - x
        result = (x + PROXIMAL[norm](pulled, reach)).clamp(0, 1)
        result = torch.where(like_rows(active, x), result, found)
        change = lengths(result - found, "l2")
        found, active = result, active & (change > CONVERGED * lengths(result - x, "l2"))
        if not bool(active.any()):
            break
    return found
