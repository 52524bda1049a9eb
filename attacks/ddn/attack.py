"""DDN, Decoupling Direction and Norm (Rony et al., CVPR 2019), algorithm 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import like_rows, steepest
from harness.runtime.problem import Problem

LEAST_STEP = 0.01
"""Length of the last step; the first has length 1."""


class DDN:
    """Walks along gradient directions on a sphere around the clean input whose radius adapts.

    Args:
        steps: steps of the search.
        gamma: share by which the radius shrinks after a wrong input and grows after a right one.
        init_norm: radius of the first sphere.
    """

    def __init__(self, *, steps: int, gamma: float, init_norm: float) -> None:
        self.steps, self.gamma, self.init_norm = steps, gamma, init_norm

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        problem = Problem(model, y, goal)
        nearest, shortest = x.clone(), torch.full(y.shape, torch.inf, device=x.device)
        delta = torch.zeros_like(x)
        radius = torch.full(y.shape, self.init_norm, device=x.device)
        # no change inside the box is longer
        longest = length(torch.maximum(x, 1 - x))
        for step in range(self.steps):
            evaluation = problem.evaluate(x + delta)
            wrong, size = ~problem.active(evaluation.logits), length(delta)
            nearer = wrong & (size < shortest)
            shortest = torch.where(nearer, size, shortest)
            nearest = torch.where(like_rows(nearer, x), x + delta, nearest)
            rate = LEAST_STEP + (1 - LEAST_STEP) * (1 + math.cos(math.pi * step / self.steps)) / 2
            moved = delta + rate * steepest(evaluation.gradient(), "l2")
            radius = radius * torch.where(wrong, 1 - self.gamma, 1 + self.gamma)
            radius = torch.minimum(radius, longest)
            scale = radius / length(moved).clamp_min(torch.finfo(x.dtype).tiny)
            delta = (x + moved * like_rows(scale, x)).clamp(0, 1) - x
        last = ~problem.active(problem.predict(x + delta)) & (length(delta) < shortest)
        return torch.where(like_rows(last, x), x + delta, nearest).clamp(0, 1)


def length(change: Tensor) -> Tensor:
    """Return the Euclidean length of each row, ``[B]``."""
    return change.flatten(1).norm(dim=1)
