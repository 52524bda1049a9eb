"""Auto-PGD (Croce and Hein, ICML 2020), also with the losses and radii of SEA (ECCV 2024)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.runtime import dense
from harness.runtime.class_weights import class_weights
from harness.runtime.contracts import Budget, Context, Data, Model
from harness.runtime.gradients import ball, project, random_start
from harness.runtime.problem import Problem

RADII = ((2.0, 0.3), (1.5, 0.3), (1.0, 0.4))
"""Factor of the radius, and share of the steps (SEA; Croce, Singh and Hein, ECCV 2024)."""

P1, LEAST_DECREASE, LEAST_INTERVAL = 0.22, 0.03, 0.06
"""First checkpoint, decrease of the next interval, and shortest one, as shares of the steps."""

RHO = 0.75
"""Share of an interval's steps in which the loss must rise, or the step is halved (condition 1)."""

ALPHA = 0.75
"""Weight of the new step; the rest is momentum."""


class Point(NamedTuple):
    """Values of a problem at some inputs.

    Attributes:
        loss: loss to raise, ``[B]``.
        gradient: its gradient, ``[B, …]``.
        active: number of labels that are not yet as the attacker wants them, ``[B]``.
    """

    loss: Tensor
    gradient: Tensor
    active: Tensor


class APGD:
    """Auto-PGD in L∞; returns for each example the input with the fewest active labels.

    Args:
        steps: gradient steps, over all radii.
        objective: loss to raise, a row of ``dense.LOSSES``.
        balanced: whether labels are weighted by 1 / N of their class.
        shrinking: whether the search begins with larger radii (``RADII``).
    """

    def __init__(self, *, steps: int, objective: str, balanced: bool, shrinking: bool) -> None:
        self.steps, self.loss_fn = steps, dense.LOSSES[objective]
        self.balanced, self.radii = balanced, RADII if shrinking else ((1.0, 1.0),)

    def learn(self, model: Model, train: Data, val: Data, budget: Budget, ctx: Context) -> None:
        """Save class weights of mean 1, if the loss is balanced."""
        if self.balanced:  # as a defence's adversary it is called without regard to learn_when
            weights = class_weights("inverse", train.y, train.spec.outputs, train.spec.void)
            save_file({"weights": weights / weights.mean()}, ctx.state / "classes.safetensors")

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        norm, eps = ball(budget)
        loss_fn = self.loss_fn
        if self.balanced:
            weights = load_file(ctx.state / "classes.safetensors")["weights"].to(ctx.device)
            loss_fn = dense.weighted(loss_fn, weights)
        problem = Problem(model, y, goal, loss_fn)
        x_adv = random_start(x, norm, eps * self.radii[0][0], ctx.generator("start"))
        for factor, share in self.radii:
            steps = max(1, round(share * self.steps))
            start = project(x_adv, x, norm, eps * factor)
            x_adv = search(problem, start, x, eps * factor, steps)
        return x_adv


def search(problem: Problem, x_adv: Tensor, x: Tensor, eps: float, steps: int) -> Tensor:
    """Run algorithm 1 of the paper; return each example's input with the fewest active labels."""
    point, previous = evaluate(problem, x_adv), x_adv
    found, fewest = x_adv, point.active
    best, x_best = point, x_adv  # by loss: where an example restarts from
    step_size = torch.full_like(point.loss, 2 * eps)
    rises, loss_before = torch.zeros_like(point.loss), point.loss
    halved = torch.ones_like(fewest, dtype=torch.bool)
    interval, since = max(int(P1 * steps), 1), 0
    for number in range(steps):
        if not bool(fewest.any()):
            break
        # a gradient step, with momentum from the second step on
        z = project(x_adv + rows(step_size, x) * point.gradient.sign(), x, "linf", eps)
        if number:
            momentum = (1 - ALPHA) * (x_adv - previous)
            z = project(x_adv + ALPHA * (z - x_adv) + momentum, x, "linf", eps)
        previous, x_adv, last_loss = x_adv, z, point.loss
        point = evaluate(problem, x_adv)
        fewer = point.active < fewest
        found, fewest = where(fewer, (x_adv, found), (point.active, fewest))
        better = point.loss > best.loss
        x_best, *values = where(better, (x_adv, x_best), *zip(point, best, strict=True))
        best = Point(*values)
        rises, since = rises + (point.loss > last_loss), since + 1
        if since == interval:
            # checkpoint: halve where the loss rose too rarely (condition 1), or where neither the
            # step size nor the best loss has changed since the last one (condition 2)
            stuck = rises <= RHO * interval
            halved = stuck | (~halved & (best.loss <= loss_before))
            step_size = torch.where(halved, step_size / 2, step_size)
            pairs = (x_best, x_adv), (best.gradient, point.gradient)
            x_adv, gradient = where(halved, *pairs)
            point = point._replace(gradient=gradient)
            rises, loss_before, since = torch.zeros_like(rises), best.loss, 0
            shorter = interval - max(int(LEAST_DECREASE * steps), 1)
            interval = max(shorter, max(int(LEAST_INTERVAL * steps), 1))
    return found


def evaluate(problem: Problem, x_adv: Tensor) -> Point:
    """Evaluate the problem by one forward and one backward pass."""
    now = problem.evaluate(x_adv)
    active = problem.active(now.logits).reshape(len(x_adv), -1).sum(1)
    return Point(now.loss.detach(), now.gradient(), active)


def where(condition: Tensor, *pairs: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Apply ``torch.where`` with a condition ``[B]`` to each pair of ``[B, …]``."""
    return [torch.where(rows(condition, one), one, other) for one, other in pairs]


def rows(values: Tensor, like: Tensor) -> Tensor:
    """Reshape ``[B]`` so that it broadcasts over ``[B, …]``."""
    return values.reshape(-1, *[1] * (like.ndim - 1))
