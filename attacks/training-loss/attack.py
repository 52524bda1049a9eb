"""Gradient attacks on the loss that a network was trained with, as studies of labels ran them."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import gradient_of

from .regions import REGIONS


class TrainingLoss:
    """Steps along the gradient of the network's training loss, or of the task's loss.

    Args:
        steps: gradient steps.
        step: length of a step, in radii; 0 is a radius divided by ``steps``. With ``clip:
            standardized`` in deviations of a channel.
        gradients: ``fresh``, or ``summed`` over all steps so far.
        start: ``clean`` or ``random``.
        clip: region of the inputs, a row of ``REGIONS``.
        objective: ``training``, or ``outputs`` for the task's loss.
        radius: radius with ``clip: standardized``, in deviations of a channel.
    """

    def __init__(
        self,
        *,
        steps: int,
        step: float,
        gradients: str,
        start: str,
        clip: str,
        objective: str,
        radius: float,
    ) -> None:
        self.steps, self.step = steps, step or 1 / steps
        self.summed, self.random_start = gradients == "summed", start == "random"
        self.region, self.objective, self.radius = REGIONS[clip], objective, radius

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        region = self.region(x, budget, self.radius)
        loss = model.loss if self.objective == "outputs" else model.training_loss
        labels, sign = (y, 1) if goal is None else (goal, -1)
        x_adv = region.start(ctx.generator("start"), ctx.draw) if self.random_start else x.clone()
        ascent = torch.zeros_like(x)
        for _ in range(self.steps):
            gradient = sign * gradient_of(lambda x_adv: loss(x_adv, labels), x_adv)
            gradient = gradient.nan_to_num(0)  # one broken step must not spoil all later sums
            ascent = ascent + gradient if self.summed else gradient
            x_adv = region.move(x_adv, ascent, self.step)
        return x_adv
