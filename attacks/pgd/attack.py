"""Projected gradient descent (Madry et al., ICLR 2018), also with SegPGD's or CosPGD's weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from harness.runtime import dense
from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import Ball, ball, project, random_start, steepest
from harness.runtime.problem import Problem

Weighting = Callable[[Tensor, Tensor, float, bool], Tensor]
"""``weighting(logits, labels, progress, targeted) -> [B, H, W]``; progress goes from 0 to 1."""


class End(NamedTuple):
    """Result of a restart.

    Attributes:
        x_adv: inputs, ``[B, …]``.
        loss: their loss, ``[B]``.
        done: which of them are past the decision boundary, bool ``[B]``.
    """

    x_adv: Tensor
    loss: Tensor
    done: Tensor


class PGD:
    """Projected gradient ascent on a problem's loss; a row that is done is left out from then on.

    Args:
        steps: gradient steps of a restart.
        rel_stepsize: length of a step, as a share of the radius.
        restarts: number of searches from different starts; an example keeps its best.
        random_start: whether to begin at a random point of the ball, else at the clean input.
        weighting: weights of pixels in the loss, a row of ``WEIGHTINGS``.
    """

    def __init__(
        self, *, steps: int, rel_stepsize: float, restarts: int, random_start: bool, weighting: str
    ) -> None:
        self.steps, self.rel_stepsize = steps, rel_stepsize
        self.restarts, self.random_start = restarts, random_start
        self.weighting = WEIGHTINGS[weighting]

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        region, problem = ball(budget, x), Problem(model, y, goal)
        best, best_loss = x.clone(), torch.full((len(x),), -torch.inf, device=x.device)
        rows = torch.arange(len(x), device=x.device)
        for restart in range(self.restarts):
            start = x
            if self.random_start:
                # drawn for all rows, so that none depends on the others' success
                source = ctx.generator("start", restart)
                start = random_start(x, *region, source, ctx.draw)
            end = self.search(problem.rows(rows), start[rows], x[rows], region)
            better = end.done | (end.loss > best_loss[rows])
            best[rows[better]], best_loss[rows[better]] = end.x_adv[better], end.loss[better]
            rows = rows[~end.done]
            if len(rows) == 0:
                break
        return best

    def search(self, problem: Problem, x_adv: Tensor, x: Tensor, region: Ball) -> End:
        """Run one restart from ``x_adv``.

        The last point is evaluated only where several restarts are compared. Otherwise its rows
        have loss 0 and are not done, which saves a pass.
        """
        norm, eps = region
        end = End(x_adv.clone(), x.new_zeros(len(x)), x.new_zeros(len(x), dtype=torch.bool))
        active = torch.arange(len(x), device=x.device)
        for step in range(self.steps + (self.restarts > 1)):
            now = self.weighted(problem, step / self.steps).evaluate(x_adv)
            done = problem.done(now.logits)
            drops = bool(done.any())
            if drops or step == self.steps:
                end.x_adv[active], end.loss[active] = x_adv, now.loss.detach()
                end.done[active] = done
            if step == self.steps or bool(done.all()):
                return end
            x_adv = x_adv + self.rel_stepsize * eps * steepest(now.gradient(), norm)
            if drops:
                active, x_adv, x = active[~done], x_adv[~done], x[~done]
                problem = problem.rows(~done)
            x_adv = project(x_adv, x, norm, eps)
        end.x_adv[active] = x_adv
        return end

    def weighted(self, problem: Problem, progress: float) -> Problem:
        """Return the problem with weighted pixels; no gradient goes through the weights."""
        weighting = self.weighting
        if weighting is None:
            return problem

        def loss_fn(logits: Tensor, labels: Tensor) -> Tensor:
            weights = weighting(logits.detach(), labels, progress, problem.targeted)
            return weights * dense.cross_entropy(logits, labels)

        return replace(problem, loss_fn=loss_fn)


def segpgd(logits: Tensor, labels: Tensor, progress: float, targeted: bool) -> Tensor:
    """Weight pixels that are as wanted by λ = t/2T, others by 1 − λ (SegPGD; Gu et al. 2022)."""
    wanted = (logits.argmax(dim=1) == labels) == targeted
    return torch.where(wanted, progress / 2, 1 - progress / 2)


def cospgd(logits: Tensor, labels: Tensor, progress: float, targeted: bool) -> Tensor:
    """Weight by cos(softmax, one-hot), or 1 − cos if targeted (CosPGD; Agnihotri et al. 2024)."""
    cosine = dense.cosine(logits, labels)
    return 1 - cosine if targeted else cosine


WEIGHTINGS: dict[str, Weighting | None] = {"none": None, "segpgd": segpgd, "cospgd": cospgd}
"""THE table of weightings, by the values of the parameter ``weighting``."""
