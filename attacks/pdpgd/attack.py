"""PDPGD, Primal-Dual Proximal Gradient Descent (Matyasko and Chau, arXiv 2106.01538)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import like_rows
from harness.runtime.nearest import Nearest
from harness.runtime.problem import Problem, lead_of_others

from .primal import Adam, shorten
from .proximal import lengths

LAST_PRIMAL, LAST_DUAL = 0.01, 0.1
"""Last step of each player as a share of its first: the primal one decays by a constant factor, the
dual one linearly."""
LARGEST_LOG_RATIO = math.log(1e6)
"""Limit of the dual variable, so that neither weight gets lost."""


class PDPGD:
    """Two players: one shortens the change and breaks the input, the other weighs these two aims.

    Args:
        steps: steps of the search.
        primal_lr: first step of Adam on the change, in units of [0, 1] pixels.
        dual_lr: first step of the weights' log ratio.
        dual_ratio_init: first weight of the distance over that of the classification.
        dual_ema: share of the weights' moving average that a step keeps.
        proximal_steps: most iterations that a proximal step takes.
    """

    def __init__(
        self,
        *,
        steps: int,
        primal_lr: float,
        dual_lr: float,
        dual_ratio_init: float,
        dual_ema: float,
        proximal_steps: int,
    ) -> None:
        self.steps, self.primal_lr, self.dual_lr = steps, primal_lr, dual_lr
        self.dual_ratio_init, self.dual_ema = dual_ratio_init, dual_ema
        self.proximal_steps = proximal_steps

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        norm = budget.norm
        assert norm is not None  # as the manifest requires
        problem = Problem(model, y, goal, loss_fn=lead_of_others)
        nearest = Nearest(x)
        adam = Adam(x)
        # log of the weight of classification over that of the distance, and the latter's average
        dual = torch.full(y.shape, -math.log(self.dual_ratio_init), device=x.device)
        share = torch.sigmoid(-dual)
        x_adv = x
        for step in range(self.steps):
            evaluation = problem.evaluate(x_adv)
            wrong, size = ~problem.active(evaluation.logits), lengths(x_adv - x, norm)
            nearest.keep(x_adv, size, wrong)
            # the gradient of log(1 + exp(-margin)), which vanishes far beyond the boundary
            beyond = evaluation.loss.detach()
            weight = like_rows(torch.sigmoid(-beyond), x)
            rate = self.primal_lr * LAST_PRIMAL ** (step / self.steps)
            descent, curvature = adam.direction(-weight * evaluation.gradient())
            start = (x_adv - rate * descent).clamp(0, 1)
            x_adv = shorten(
                start, x, curvature, rate * share / (1 - share), norm, self.proximal_steps
            )
            # both players move at once: the dual one answers the margin that the primal one saw
            done = step / max(1, self.steps - 1)
            dual_rate = self.dual_lr * (1 - done * (1 - LAST_DUAL))
            dual = (dual - dual_rate * beyond.sign()).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
            share = torch.lerp(torch.sigmoid(-dual), share, self.dual_ema)
        nearest.keep(x_adv, lengths(x_adv - x, norm), ~problem.active(problem.predict(x_adv)))
        return nearest.inputs
