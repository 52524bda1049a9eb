"""Auto-PGD (Croce and Hein, ICML 2020) with its DLR losses, or the losses and radii of SEA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.runtime import dense
from harness.runtime.class_weights import class_weights
from harness.runtime.contracts import Budget, Context, Data, Model
from harness.runtime.gradients import Ball, ball, project, random_start
from harness.runtime.problem import Problem

from .ascent import ascend

RADII = ((2.0, 0.3), (1.5, 0.3), (1.0, 0.4))
"""Factor of the radius, and share of the steps (SEA; Croce, Singh and Hein, ECCV 2024)."""

TARGETED = "dlr-targeted"
"""Objective that is no loss of the label alone: it is raised toward another class."""


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
        targets: Sequence[Tensor | None] = (None,)
        if self.objective == TARGETED and goal is None:
            clean = problem.predict(x)
            rows = problem.active(clean).nonzero().flatten()
            targets = problem.nearest_classes(clean, self.targets)
        for restart, (number, target) in product(range(self.restarts), enumerate(targets)):
            if len(rows) == 0:
                break
            dims = () if target is None else (number,)
            again = ("restart", restart) if restart else ()
            # drawn for all rows, so that none depends on the others' success
            start = self.start(x, region, ctx, *dims, *again)
            part = problem.rows(rows)
            wanted = None if target is None else target[rows]
            part = replace(part, loss_fn=self.loss_fn(part, wanted, ctx))
            x_adv, left = self.search(part, start[rows], x[rows], region)
            fewer = left <= fewest[rows]
            best[rows[fewer]], fewest[rows[fewer]] = x_adv[fewer], left[fewer]
            rows = rows[fewest[rows] > 0]
        return best

    def loss_fn(self, part: Problem, target: Tensor | None, ctx: Context) -> dense.PixelLoss:
        """Return the objective of a problem, or a class to search toward, as a loss of logits."""
        if target is not None:
            return partial(dense.targeted_dlr, target=target)
        if self.objective == TARGETED:  # with a goal a problem lowers its loss
            return lambda z, wanted: -dense.targeted_dlr(z, part.y, wanted)
        if not self.balanced:
            return dense.LOSSES[self.objective]
        weights = load_file(ctx.state / "classes.safetensors")["weights"].to(ctx.device)
        return dense.weighted(dense.LOSSES[self.objective], weights)

    def start(self, x: Tensor, region: Ball, ctx: Context, *dims: object) -> Tensor:
        """Return a random start in the first of the radii."""
        eps = region.eps * self.radii[0][0]
        return random_start(x, region.norm, eps, ctx.generator("start", *dims), ctx.draw)

    def search(
        self, problem: Problem, x_adv: Tensor, x: Tensor, region: Ball
    ) -> tuple[Tensor, Tensor]:
        """Run the algorithm within each radius in turn; return what the last one returns."""
        for factor, share in self.radii:
            around = Ball(region.norm, region.eps * factor)
            steps = max(1, round(share * self.steps))
            x_adv, fewest = ascend(problem, project(x_adv, x, *around), x, around, steps)
        return x_adv, fewest
