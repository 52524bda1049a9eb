"""Fast gradient sign method (Goodfellow et al., ICLR 2015), also from a random start."""

from __future__ import annotations

from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import ball, project, random_start, steepest
from harness.runtime.problem import Problem


class FGSM:
    """One step along the gradient of the loss, then a projection onto the ball and [0, 1].

    Args:
        random_start: whether to begin at a random point of the ball (Wong, Rice and Kolter, ICLR
            2020, algorithm 3), else at the clean input.
        rel_stepsize: length of the step, as a share of the radius.
    """

    def __init__(self, *, random_start: bool, rel_stepsize: float) -> None:
        self.random_start, self.rel_stepsize = random_start, rel_stepsize

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        norm, eps = ball(budget, x)
        start = x
        if self.random_start:
            start = random_start(x, norm, eps, ctx.generator("start"), ctx.draw)
        gradient = Problem(model, y, goal).gradient(start)
        return project(start + self.rel_stepsize * eps * steepest(gradient, norm), x, norm, eps)
