"""Target-agnostic feature attack on a public model (Rezaei and Liu, ICLR 2020)."""

from __future__ import annotations

from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import ball, gradient_of, project, random_start, steepest


class FeatureAttack:
    """Ascent on one penultimate feature of the public network; reads neither student nor labels.

    Args:
        steps: gradient steps.
        step: length of a step, as a share of the radius.
        neuron: index of the feature to raise.
        level: target value of the feature, far above what any input gives.
        quiet: weight of the penalty on the other features.
    """

    def __init__(self, *, steps: int, step: float, neuron: int, level: float, quiet: float):
        self.steps, self.step = steps, step
        self.neuron, self.level, self.quiet = neuron, level, quiet

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        norm, eps = ball(budget)
        x_adv = random_start(x, norm, eps, ctx.generator("start"))
        for _ in range(self.steps):
            gradient = gradient_of(lambda x_adv: self.objective(model.features(x_adv)), x_adv)
            x_adv = project(x_adv + self.step * eps * steepest(gradient, norm), x, norm, eps)
        return x_adv

    def objective(self, features: Tensor) -> Tensor:
        """Return the objective to raise, ``[B]``: −(f_k − level)² − quiet · mean of other f²."""
        raised = features[:, self.neuron]
        others = features.square().sum(dim=1) - raised.square()
        others = others / max(1, features.shape[1] - 1)
        return -(raised - self.level).square() - self.quiet * others
