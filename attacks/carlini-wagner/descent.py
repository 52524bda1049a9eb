"""The search with one constant: Adam (Kingma and Ba, ICLR 2015) on inputs written as a tanh."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.runtime.gradients import like_rows
from harness.runtime.problem import Problem

INSIDE = 0.999999
"""Factor that keeps the values 0 and 1, whose inverse tanh is infinite, inside the box."""
PROGRESS = 0.9999
"""Share of its earlier value to which a row's loss must fall, or its search ends."""
CHECKS = 10
"""How often in a search the progress is checked, at most."""
DECAY, SQUARE_DECAY, DAMPING = 0.9, 0.999, 1e-8
"""Adam's β₁, β₂ and ε."""


@dataclass
class Rows:
    """State of the rows whose search goes on, ``[R, …]`` each.

    Attributes:
        place: numbers of the rows in the whole batch.
        problem: their problem.
        x: their clean inputs.
        const: their constants.
        point: inverse tanh of their inputs.
        first: Adam's mean of gradients.
        second: Adam's mean of squared gradients.
        earlier: their losses at the last check.
    """

    place: Tensor
    problem: Problem
    x: Tensor
    const: Tensor
    point: Tensor
    first: Tensor
    second: Tensor
    earlier: Tensor

    def keep(self, which: Tensor) -> Rows:
        """Return some rows; ``which`` is bool ``[R]``."""
        rest = (self.x, self.const, self.point, self.first, self.second, self.earlier)
        kept = [one[which] for one in rest]
        return Rows(self.place[which], self.problem.rows(which), *kept)

    def step(self, gradient: Tensor, number: int, size: float) -> None:
        """Move the points by Adam's step of a number, from 1 on."""
        self.first.lerp_(gradient, 1 - DECAY)
        self.second.lerp_(gradient.square(), 1 - SQUARE_DECAY)
        spread = (self.second / (1 - SQUARE_DECAY**number)).sqrt_().add_(DAMPING)
        self.point.addcdiv_(self.first, spread, value=-size / (1 - DECAY**number))


@dataclass(frozen=True)
class Descent:
    """Minimises ``‖x' − x‖₂² + c · max(κ − margin, 0)``, with ``x' = (tanh w + 1) / 2``.

    Attributes:
        steps: most steps.
        size: Adam's step size.
        confidence: κ, the margin that a success has.
        abort: whether rows without progress end.
    """

    steps: int
    size: float
    confidence: float
    abort: bool

    def run(self, problem: Problem, x: Tensor, const: Tensor) -> tuple[Tensor, Tensor]:
        """Search from the clean inputs; no row depends on another.

        Args:
            problem: the rows' problem.
            x: clean inputs in [0, 1], ``[B, …]``.
            const: c of each row, ``[B]``.

        Returns:
            Each row's nearest success, ``[B, …]``, and its distance from ``x``, infinite without
            a success, ``[B]``.
        """
        nearest, shortest = x.clone(), torch.full_like(const, torch.inf)
        point = torch.atanh((2 * x - 1) * INSIDE)
        place = torch.arange(len(x), device=x.device)
        first, second = torch.zeros_like(x), torch.zeros_like(x)
        rows = Rows(place, problem, x, const, point, first, second, earlier=shortest.clone())
        # before a value at an end of the box has come so far in w, it changes no loss
        way = math.atanh(INSIDE) / self.size
        every = math.ceil(max(self.steps / CHECKS, way))
        for number in range(self.steps):
            x_adv, loss, success, gradient = self.evaluate(rows)
            length = (x_adv - rows.x).flatten(1).norm(dim=1)
            nearer = success & (length < shortest[rows.place])
            shortest[rows.place] = torch.where(nearer, length, shortest[rows.place])
            nearest[rows.place] = torch.where(like_rows(nearer, x_adv), x_adv, nearest[rows.place])
            rows.step(gradient, number + 1, self.size)
            if self.abort and number % every == 0:
                fallen = loss <= PROGRESS * rows.earlier
                rows.earlier = loss
                rows = rows.keep(fallen)
                if len(rows.place) == 0:
                    break
        return nearest, shortest

    def evaluate(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return inputs, losses, which are successes, and gradients at the rows' points."""
        point = rows.point.detach().requires_grad_()
        with torch.enable_grad():
            x_adv = (point.tanh() + 1) / 2
            logits = rows.problem.model.module(x_adv)
            margin = rows.problem.margin(logits)
            squares = (x_adv - rows.x).square().flatten(1).sum(dim=1)
            loss = squares + rows.const * (self.confidence - margin).clamp_min(0)
            (gradient,) = torch.autograd.grad(loss.sum(), point)
        # not what is on the boundary: a batch of another size, rounded differently, may undo it
        success = rows.problem.done(logits) & (margin >= self.confidence)
        return x_adv.detach(), loss.detach(), success.detach(), gradient.nan_to_num(0, 0, 0)
