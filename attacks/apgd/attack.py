"""Auto-PGD (Croce and Hein, ICML 2020) with its DLR losses, or the losses and radii of SEA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.runtime import dense
from harness.runtime.class_weights import class_weights
from harness.runtime.contracts import Budget, Context, Data, Model
from harness.runtime.gradients import Ball, ball, project, random_start, steepest
from harness.runtime.problem import Problem

RADII = ((2.0, 0.3), (1.5, 0.3), (1.0, 0.4))
"""Factor of the radius, and share of the steps (SEA; Croce, Singh and Hein, ECCV 2024)."""

P1, LEAST_DECREASE, LEAST_INTERVAL = 0.22, 0.03, 0.06
"""First checkpoint, decrease of the next interval, and shortest one, as shares of the steps."""

RHO = 0.75
"""Share of an interval's steps in which the loss must rise, or the step is halved (condition 1)."""

ALPHA = 0.75
"""Weight of the new step; the rest is momentum."""


TARGETED = "dlr-targeted"
"""Objective that is no loss of the label alone: it is raised toward another class."""


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
    """Auto-PGD; returns for each example the input with the fewest active labels.

    Args:
        steps: gradient steps of a search, over all radii.
        objective: loss to raise, a row of ``dense.LOSSES`` or ``TARGETED``.
        targets: most wrong classes that the targeted objective tries, with a search each.
        restarts: number of searches from different starts; an example keeps its best.
        balanced: whether labels are weighted by 1 / N of their class.
        shrinking: whether the search begins with larger radii (``RADII``).
    """

    def __init__(
        self,
        *,
        steps: int,
        objective: str,
        targets: int,
        restarts: int,
        balanced: bool,
        shrinking: bool,
    ) -> None:
        self.steps, self.objective = steps, objective
        self.targets, self.restarts = targets, restarts
        self.balanced, self.radii = balanced, RADII if shrinking else ((1.0, 1.0),)

    def learn(self, model: Model, train: Data, val: Data, budget: Budget, ctx: Context) -> None:
        """Save class weights of mean 1, if the loss is balanced."""
        if self.balanced:  # as a defence's adversary it is called without regard to learn_when
            weights = class_weights("inverse", train.y, train.spec.outputs, train.spec.void)
            save_file({"weights": weights / weights.mean()}, ctx.state / "classes.safetensors")

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        region, problem = ball(budget, x), Problem(model, y, goal)
        best, rows = x.clone(), torch.arange(len(x), device=x.device)
        fewest = torch.full_like(rows, torch.iinfo(rows.dtype).max)
        losses: Mapping[tuple[object, ...], dense.PixelLoss] = {}
        if self.objective != TARGETED:
            losses = {(): self.loss_fn(ctx)}
        elif goal is not None:  # with a goal a problem lowers its loss
            losses = {(): lambda z, wanted: -dense.targeted_dlr(z, y[rows], wanted)}
        else:
            clean = problem.predict(x)
            rows = problem.active(clean).nonzero().flatten()
            for number, one in enumerate(problem.nearest_classes(clean, self.targets)):
                losses[number,] = lambda z, y, one=one: dense.targeted_dlr(z, y, target=one[rows])
        for restart, (dims, loss_fn) in product(range(self.restarts), losses.items()):
            if len(rows) == 0:
                break
            # drawn for all rows, so that none depends on the others' success
            again = ("restart", restart) if restart else ()
            start = self.start(x, region, ctx, *dims, *again)
            active = replace(problem.rows(rows), loss_fn=loss_fn)
            x_adv, left = self.search(active, start[rows], x[rows], region)
            fewer = left <= fewest[rows]
            best[rows[fewer]], fewest[rows[fewer]] = x_adv[fewer], left[fewer]
            rows = rows[fewest[rows] > 0]
        return best

    def loss_fn(self, ctx: Context) -> dense.PixelLoss:
        """Return the objective as a loss of logits and labels."""
        if not self.balanced:
            return dense.LOSSES[self.objective]
        weights = load_file(ctx.state / "classes.safetensors")["weights"].to(ctx.device)
        return dense.weighted(dense.LOSSES[self.objective], weights)

    def start(self, x: Tensor, region: Ball, ctx: Context, *dims: object) -> Tensor:
        """Return a random start in the first of the radii."""
        eps = region.eps * self.radii[0][0]
        return random_start(x, region.norm, eps, ctx.generator("start", *dims))

    def search(
        self, problem: Problem, x_adv: Tensor, x: Tensor, region: Ball
    ) -> tuple[Tensor, Tensor]:
        """Run the algorithm within each radius in turn; return what the last one returns."""
        for factor, share in self.radii:
            around = Ball(region.norm, region.eps * factor)
            steps = max(1, round(share * self.steps))
            x_adv, fewest = ascend(problem, project(x_adv, x, *around), x, around, steps)
        return x_adv, fewest


def ascend(
    problem: Problem, x_adv: Tensor, x: Tensor, region: Ball, steps: int
) -> tuple[Tensor, Tensor]:
    """Run algorithm 1 of the paper from ``x_adv``.

    Returns:
        Each example's input with the fewest active labels, ``[B, …]``, and their number, ``[B]``.
    """
    norm, eps = region
    point, previous = evaluate(problem, x_adv), x_adv
    found, fewest = x_adv, point.active
    best, x_best = point, x_adv  # by loss: where an example restarts from
    step_size = x.new_full((len(x),), 2.0)  # in radii
    rises, loss_before = torch.zeros_like(point.loss), point.loss
    halved = torch.ones_like(fewest, dtype=torch.bool)
    interval, since = max(int(P1 * steps), 1), 0
    for number in range(steps):
        if not bool(fewest.any()):
            break
        # a gradient step, with momentum from the second step on
        step = rows(step_size, x) * eps * steepest(point.gradient, norm)
        z = project(x_adv + step, x, norm, eps)
        if number:
            momentum = (1 - ALPHA) * (x_adv - previous)
            z = project(x_adv + ALPHA * (z - x_adv) + momentum, x, norm, eps)
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
    return found, fewest


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
