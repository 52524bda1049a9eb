"""FAB, the Fast Adaptive Boundary attack in its targeted form (Croce and Hein, ICML 2020)."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Generator, Tensor

from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import Draw, ball, gradient_of, like_rows, project
from harness.runtime.problem import Problem

from .boundary import lengths, step_to_hyperplane

LEAST = 1e-8
"""Length that a step counts at least, so that the weights of both are defined."""


class FAB:
    """Walks along the linearised boundary to a wrong class, drawn back to the clean input.

    Args:
        steps: steps of a search, each two forward passes and one backward pass.
        targets: most wrong classes that are tried, nearest first, with searches of their own.
        restarts: number of searches for each class; all but the first begin at a random point.
        alpha: largest weight of the clean input's projection, the paper's alpha_max.
        eta: how far a step goes beyond the boundary; 1 ends on it.
        beta: share of the way from the clean input at which a search goes on after a success.
    """

    def __init__(
        self, *, steps: int, targets: int, restarts: int, alpha: float, eta: float, beta: float
    ) -> None:
        self.steps, self.targets, self.restarts = steps, targets, restarts
        self.alpha, self.eta, self.beta = alpha, eta, beta

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        norm, eps = (str(budget.norm), math.inf) if budget.minimal else ball(budget)
        assert isinstance(eps, float)  # one radius, as the manifest requires
        problem = Problem(model, y, goal)
        clean = problem.predict(x)
        best, distance = x.clone(), torch.full(y.shape, torch.inf, dtype=torch.float64).to(x.device)
        distance[problem.done(clean)] = 0
        for number, target in enumerate(problem.nearest_classes(clean, self.targets)):
            for restart in range(self.restarts):
                start = x
                if restart:
                    # drawn for all rows, so that none depends on the others' success
                    source = ctx.generator("start", number, restart)
                    reached = distance.clamp_max(eps).nan_to_num(posinf=1).float()
                    start = random_shell(x, norm, reached, source, ctx.draw)
                # without a radius a nearer one is always looked for
                rows = (distance > (0 if budget.minimal else eps)).nonzero().flatten()
                if len(rows) == 0:
                    break
                part = problem.rows(rows)
                found, length = self.search(part, start[rows], x[rows], target[rows], norm)
                nearer = length < distance[rows]
                best[rows[nearer]], distance[rows[nearer]] = found[nearer], length[nearer]
        near = torch.isfinite(distance) if budget.minimal else distance <= eps
        kept = best if budget.minimal else project(best, x, norm, eps)
        return torch.where(like_rows(near, x), kept, x)

    def search(
        self, problem: Problem, x_adv: Tensor, x: Tensor, target: Tensor, norm: str
    ) -> tuple[Tensor, Tensor]:
        """Run algorithm 1 of the paper toward one class a row.

        Returns:
            Each row's nearest success, ``[B, …]``, and its distance from ``x``, infinite without a
            success, float64 ``[B]``.
        """
        nearest, shortest = x, x.new_full((len(x),), torch.inf, dtype=torch.float64)
        origin = x.flatten(1)
        for _ in range(self.steps):
            gap, normal = linearize(problem, x_adv, target)
            at = x_adv.flatten(1)
            # both projections end where the linearised gap is zero
            own = step_to_hyperplane(at, normal, -gap, norm)
            rest = (normal.double() * (at - origin).double()).sum(1).float()
            clean = step_to_hyperplane(origin, normal, rest - gap, norm)
            here, there = (lengths(one, norm).clamp_min(LEAST) for one in (own, clean))
            weight = (here / (here + there)).clamp_max(self.alpha).float()[:, None]
            moved = (1 - weight) * (at + self.eta * own) + weight * (origin + self.eta * clean)
            x_adv = moved.clamp(0, 1).reshape(x.shape)
            # on any side of the boundary, however near: a margin would stop the search before it
            done = ~problem.active(problem.predict(x_adv))
            length = lengths((x_adv - x).flatten(1), norm)
            nearer = done & (length < shortest)
            shortest = torch.where(nearer, length, shortest)
            nearest = torch.where(like_rows(nearer, x), x_adv, nearest)
            x_adv = torch.where(like_rows(done, x), x + self.beta * (x_adv - x), x_adv)
        return nearest, shortest


def linearize(problem: Problem, x_adv: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far each row is past the boundary to its class, and the gradient of that.

    Both are divided by the gradient's largest magnitude, which changes no hyperplane.

    Returns:
        Gap: negative before the boundary, ``[B]``; and gradient, ``[B, D]``.
    """
    gaps = []

    def gap(x_adv: Tensor) -> Tensor:
        logits = problem.model.module(x_adv)
        wanted = logits.gather(1, target[:, None]).squeeze(1)
        if problem.targeted:
            other = logits.scatter(1, target[:, None], -torch.inf).amax(1)
        else:
            other = logits.gather(1, problem.y[:, None]).squeeze(1)
        gaps.append((wanted - other).detach())
        return wanted - other

    gradient = gradient_of(gap, x_adv).nan_to_num(0, 0, 0).flatten(1)
    scale = gradient.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny)
    return gaps[0] / scale, gradient / scale[:, None]


def random_shell(x: Tensor, norm: str, radius: Tensor, generator: Generator, draw: Draw) -> Tensor:
    """Return points at half the radii ``[B]`` from ``x`` in a random direction, inside the box."""
    if norm == "linf":
        noise = (draw(x.shape, partial(torch.rand, generator=generator)) * 2 - 1).to(x.device)
    else:
        noise = draw(x.shape, partial(torch.randn, generator=generator)).to(x.device)
    length = lengths(noise.flatten(1), norm).float()
    return (x + like_rows(radius / 2 / length, x) * noise).clamp(0, 1)
