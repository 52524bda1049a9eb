"""Fast gradient sign method: one step of full length along the loss's gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import ball, project, steepest


class FGSM:
    """Has no parameters: the step is the budget."""

    def perturb(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        goal: Tensor | None,
        budget: Budget,
        ctx: Context,
    ) -> Tensor:
        norm, eps = ball(budget)
        x = x.detach()
        at = x.clone().requires_grad_()
        with torch.enable_grad():
            loss = model.loss(at, y) if goal is None else -model.loss(at, goal)
            (gradient,) = torch.autograd.grad(loss.sum(), at)
        return project(x + eps * steepest(gradient, norm), x, norm, eps)
