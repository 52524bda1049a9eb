"""Attack through a linear probe: another head on the frozen features, judged by the real one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Data, Model
from harness.runtime.gradients import ball, gradient_of, project, random_start, steepest
from harness.runtime.problem import Problem

from .probe import collect, fit

FILE = "probe.safetensors"


class LinearProbe:
    """Projected gradient ascent on the margin of a softmax layer that is fitted to the features.

    Args:
        examples: training examples that the layer is fitted to, at most.
        iterations: steps of L-BFGS at most.
        decay: L2 penalty on the layer's weights, for standardised features.
        steps: gradient steps of the attack.
        rel_stepsize: length of a step, as a share of the radius.
        random_start: whether to begin at a random point of the ball, else at the clean input.
    """

    def __init__(
        self,
        *,
        examples: int,
        iterations: int,
        decay: float,
        steps: int,
        rel_stepsize: float,
        random_start: bool,
    ) -> None:
        self.examples, self.iterations, self.decay = examples, iterations, decay
        self.steps, self.rel_stepsize, self.random_start = steps, rel_stepsize, random_start

    def learn(self, model: Model, train: Data, val: Data, budget: Budget, ctx: Context) -> None:
        """Fit the layer, log how much of the validation set it gets right, and save it."""
        drawn = torch.randperm(len(train), generator=ctx.generator("examples"))[: self.examples]
        features, labels = collect(model, train, drawn)
        probe = fit(features, labels, model.spec.outputs, self.iterations, self.decay)
        save_file({name: value.cpu() for name, value in probe.items()}, ctx.state / FILE)
        if len(val):
            features, labels = collect(model, val, torch.arange(len(val)))
            right = (F.linear(features, **probe).argmax(dim=1) == labels).float().mean()
            ctx.log(f"the probe is right on {float(right):.1%} of the validation set")

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        (norm, eps), problem = ball(budget, x), Problem(model, y, goal)
        probe = {name: value.to(x) for name, value in load_file(ctx.state / FILE).items()}

        def margin(x_adv: Tensor) -> Tensor:
            return problem.margin(F.linear(model.features(x_adv), **probe))

        x_adv = x.clone()
        if self.random_start:
            x_adv = random_start(x, norm, eps, ctx.generator("start"), ctx.draw)
        for _ in range(self.steps):
            step = self.rel_stepsize * eps * steepest(gradient_of(margin, x_adv), norm)
            x_adv = project(x_adv + step, x, norm, eps)
        return x_adv
