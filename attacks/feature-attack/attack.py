"""Feature attack on a public model: push one penultimate neuron, hope that a class hangs on it."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import ball, project, random_start, steepest


class FeatureAttack:
    """Sees the public network and the inputs; neither the student nor a label.

    Args:
        steps: gradient steps.
        step: length of one, as a share of the radius.
        neuron: the feature to raise.
        level: the value that it is pulled to; far above what any input gives.
        quiet: weight of keeping the other features small.
    """

    def __init__(self, *, steps: int, step: float, neuron: int, level: float, quiet: float):
        self.steps, self.step = steps, step
        self.neuron, self.level, self.quiet = neuron, level, quiet

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
        x_adv = random_start(x, norm, eps, ctx.generator("start"))
        for _ in range(self.steps):
            at = x_adv.detach().requires_grad_()
            with torch.enable_grad():
                objective = self.objective(model.features(at)).sum()
                (gradient,) = torch.autograd.grad(objective, at)
            x_adv = project(at.detach() + self.step * eps * steepest(gradient, norm), x, norm, eps)
        return x_adv

    def objective(self, features: Tensor) -> Tensor:
        """What is maximised, ``[B]``: minus the distance to one huge and many small features."""
        raised = features[:, self.neuron]
        others = features.square().sum(dim=1) - raised.square()
        others = others / max(1, features.shape[1] - 1)
        return -(raised - self.level).square() - self.quiet * others
