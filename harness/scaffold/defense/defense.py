"""Adversarial training in its smallest form, to start from: replace it by your idea."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Defense:
    """Training on ``x + eps · sign(∇ loss)`` instead of ``x``.

    Args:
        eps: radius of the step.
    """

    def __init__(self, *, eps: float) -> None:
        self.eps = eps

    def loss(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return one value per row; the victim's recipe minimises its mean."""
        moved = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(network(moved), y), moved)
        moved = (x + self.eps * gradient.sign()).clamp(0, 1).detach()
        return F.cross_entropy(network(moved), y, reduction="none")
