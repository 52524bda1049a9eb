"""Fast gradient sign method, to start from: replace it by your idea."""

from __future__ import annotations

from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import ball, project, steepest
from harness.runtime.problem import Problem


class Attack:
    """One step along the gradient of the loss.

    Args:
        share: length of the step, as a share of the radius.
    """

    def __init__(self, *, share: float) -> None:
        self.share = share

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        """Return attacked inputs of the same shape, in [0, 1] and within the budget.

        Args:
            model: the victim; ``Problem`` asks it for losses and gradients.
            x: inputs in [0, 1], float32 ``[B, C, H, W]``.
            y: their labels.
            goal: labels to reach, or ``None`` if any error will do.
            budget: set by the benchmark and checked by the judge; ``ball`` gives norm and radius.
            ctx: ``ctx.device``, ``ctx.generator(…)`` for chance, ``ctx.log(…)``.
        """
        norm, eps = ball(budget, x)
        problem = Problem(model, y, goal)  # its loss is to raise, with a goal and without
        gradient = problem.gradient(x)
        return project(x + self.share * eps * steepest(gradient, norm), x, norm, eps)
