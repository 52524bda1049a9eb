"""Fast gradient sign method (Goodfellow, Shlens and Szegedy, ICLR 2015)."""

from __future__ import annotations

from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import ball, project, steepest
from harness.runtime.problem import Problem


class FGSM:
    """One step of length ε along the gradient of the loss; has no parameters."""

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        norm, eps = ball(budget, x)
        gradient = Problem(model, y, goal).gradient(x)
        return project(x + eps * steepest(gradient, norm), x, norm, eps)
