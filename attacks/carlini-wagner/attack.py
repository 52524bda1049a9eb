"""The L2 attack of Carlini and Wagner (IEEE Symposium on Security and Privacy, 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.nearest import Nearest
from harness.runtime.problem import Problem

from .descent import Descent

GROWTH = 10
"""Factor of the constant while none was large enough."""
LARGEST_CONST = 1e10
"""Where the constant ends to grow: squares of gradients must stay finite in float32."""


class CarliniWagner:
    """Minimises squared distance plus a constant times the loss, for several constants a row.

    Args:
        binary_search_steps: constants that are tried, each in a search of its own.
        steps: most steps of a search.
        stepsize: Adam's step size, in the space of the tanh.
        confidence: least lead of a wrong logit that counts as found, the paper's κ.
        initial_const: first constant c.
        abort_early: whether a row's search ends when its loss has not fallen since the last check.
    """

    def __init__(
        self,
        *,
        binary_search_steps: int,
        steps: int,
        stepsize: float,
        confidence: float,
        initial_const: float,
        abort_early: bool,
    ) -> None:
        self.searches, self.initial_const = binary_search_steps, initial_const
        self.descent = Descent(steps, stepsize, confidence, abort_early)

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        problem = Problem(model, y, goal)
        rows = problem.active(problem.predict(x)).nonzero().flatten()
        found = x.clone()
        if len(rows):
            found[rows] = self.search(problem.rows(rows), x[rows])
        return found

    def search(self, problem: Problem, x: Tensor) -> Tensor:
        """Return each row's nearest success, ``[B, …]``, or its clean input (section V).

        The constant grows until the search succeeds; then it is halved between the largest that
        failed and the smallest that did not.
        """
        nearest = Nearest(x)
        const = torch.full_like(nearest.lengths, self.initial_const)
        low, high = torch.zeros_like(const), torch.full_like(const, torch.inf)
        for _ in range(self.searches):
            found, length = self.descent.run(problem, x, const)
            success = length < torch.inf
            nearest.keep(found, length, success)
            low, high = torch.where(success, low, const), torch.where(success, const, high)
            grown = (GROWTH * const).clamp_max(LARGEST_CONST)
            const = torch.where(high < torch.inf, (low + high) / 2, grown)
        return nearest.inputs
