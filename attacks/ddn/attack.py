"""DDN, Decoupling Direction and Norm (Rony et al., CVPR 2019), algorithm 1."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import like_rows, steepest
from harness.runtime.nearest import Nearest
from harness.runtime.problem import Problem

LEAST_STEP = 0.01
"""Length of the last step; the first has length 1."""


class DDN:
    """Walks along gradient directions on a sphere around the clean input whose radius adapts.

    Args:
        steps: steps of the search.
        gamma: share by which the radius shrinks after a wrong input and grows after a right one.
        init_norm: radius of the first sphere, in units of [0, 1] pixels.
    """

    def __init__(self, *, steps: int, gamma: float, init_norm: float) -> None:
        self.steps, self.gamma, self.init_norm = steps, gamma, init_norm

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        problem = Problem(model, y, goal)
        nearest = Nearest(x)
        radius = torch.full(y.shape, self.init_norm, device=x.device)
        # no change inside the box is longer
        longest = lengths(torch.maximum(x, 1 - x))
        x_adv = x
        for step in range(self.steps):
            evaluation = problem.evaluate(x_adv)
            wrong, size = ~problem.active(evaluation.logits), lengths(x_adv - x)
            nearest.keep(x_adv, size, wrong)
            rate = LEAST_STEP + (1 - LEAST_STEP) * (1 + math.cos(math.pi * step / self.steps)) / 2
            moved = x_adv - x + rate * direction(evaluation.gradient(), step, ctx)
            radius = radius * torch.where(wrong, 1 - self.gamma, 1 + self.gamma)
            radius = torch.minimum(radius, longest)
            x_adv = (x + like_rows(radius, x) * steepest(moved, "l2")).clamp(0, 1)
        nearest.keep(x_adv, lengths(x_adv - x), ~problem.active(problem.predict(x_adv)))
        return nearest.inputs


def direction(gradient: Tensor, step: int, ctx: Context) -> Tensor:
    """Return the gradient's direction, of length 1; a random one in rows without a gradient.

    A confident network's cross entropy has none in float32, and the search would never set out.

    Args:
        gradient: float32 ``[B, …]``.
        step: number of the step, which the random numbers depend on.
        ctx: source of the random numbers.
    """
    ahead = steepest(gradient, "l2")
    still = ~ahead.flatten(1).any(dim=1)
    if not bool(still.any()):
        return ahead
    normal = partial(torch.randn, generator=ctx.generator("direction", step))
    anywhere = steepest(ctx.draw(gradient.shape, normal).to(gradient.device), "l2")
    return torch.where(like_rows(still, ahead), anywhere, ahead)


def lengths(change: Tensor) -> Tensor:
    """Return the Euclidean length of each row, ``[B]``."""
    found: Tensor = torch.linalg.vector_norm(change.flatten(1), dim=1)
    return found
