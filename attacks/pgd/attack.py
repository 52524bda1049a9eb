"""Projected gradient descent (Madry et al., ICLR 2018), also on TRADES' divergence (Zhang 2019)."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from harness.runtime import dense
from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import Ball, ball, project, random_start, steepest
from harness.runtime.problem import Problem

from .weightings import WEIGHTINGS


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
    """Projected gradient ascent on a problem's loss.

    Args:
        steps: gradient steps of a restart.
        rel_stepsize: length of a step, as a share of the radius.
        restarts: number of searches from different starts; an example keeps its best.
        random_start: whether to begin at a random point of the ball, else at the clean input.
        weighting: weights of pixels in the loss, a row of ``WEIGHTINGS``.
        objective: ``ce``, the task's loss; or ``kl``, the divergence from the prediction on the
            clean input, which asks for no label.
        early_stopping: whether a row that is past the decision boundary is left out from then on;
            under ``kl`` none is.

    Raises:
        ValueError: ``kl`` without a random start: at the clean input its gradient is zero.
    """

    def __init__(
        self,
        *,
        steps: int,
        rel_stepsize: float,
        restarts: int,
        random_start: bool,
        weighting: str,
        objective: str,
        early_stopping: bool,
    ) -> None:
        if objective == "kl" and not random_start:
            raise ValueError("objective kl has no gradient at the clean input: use random_start")
        self.steps, self.rel_stepsize = steps, rel_stepsize
        self.restarts, self.random_start = restarts, random_start
        self.weighting, self.objective = WEIGHTINGS[weighting], objective
        self.stops = early_stopping and objective == "ce"

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        region, problem = ball(budget, x), Problem(model, y, goal)
        if self.objective == "kl":
            problem = replace(problem, loss_fn=divergence_from(model.predict(x)))
        none = x.new_zeros(len(x), dtype=torch.bool)
        best = End(x.clone(), torch.full((len(x),), -torch.inf, device=x.device), none)
        rows = torch.arange(len(x), device=x.device)
        for restart in range(self.restarts):
            start = x
            if self.random_start:
                # drawn for all rows, so that none depends on the others' success
                source = ctx.generator("start", restart)
                start = random_start(x, *region, source, ctx.draw)
            end = self.search(problem.rows(rows), start[rows], x[rows], region)
            done = best.done[rows]
            better = (end.done & ~done) | ((end.done == done) & (end.loss > best.loss[rows]))
            for kept, found in zip(best, end, strict=True):
                kept[rows[better]] = found[better]
            if self.stops:
                rows = rows[~end.done]
            if len(rows) == 0:
                break
        return best.x_adv

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
            drops = self.stops and bool(done.any())
            if drops or step == self.steps:
                end.x_adv[active], end.loss[active] = x_adv, now.loss.detach()
                end.done[active] = done
            if step == self.steps or (drops and bool(done.all())):
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
        values = problem.loss_fn or dense.cross_entropy

        def loss_fn(logits: Tensor, labels: Tensor) -> Tensor:
            weights = weighting(logits.detach(), labels, progress, problem.targeted)
            return weights * values(logits, labels)

        return replace(problem, loss_fn=loss_fn)


def divergence_from(clean: Tensor) -> dense.PixelLoss:
    """Return the loss KL(p ‖ p_adv) that TRADES raises, from the logits of the clean inputs.

    Equation 5 and algorithm 1 of Zhang et al. (ICML 2019).
    """
    return lambda logits, labels: dense.divergence(clean, logits)
