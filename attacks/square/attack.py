"""Square Attack: random search on scores (Andriushchenko et al., ECCV 2020)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import Ball, ball
from harness.runtime.problem import Problem

from .windows import DISTRIBUTIONS, Chance, p_selection, window_side


class Square:
    """Random search: a change of one square stays if it raises the margin; a query each.

    Args:
        share: share of pixels that the first squares cover, the paper's p.
        iterations: most queries of an example in a search; an oracle's limit comes first.
        restarts: number of searches, each on the examples that are still right.
    """

    def __init__(self, *, share: float, iterations: int, restarts: int) -> None:
        self.share, self.iterations, self.restarts = share, iterations, restarts

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        region, problem = ball(budget, x), Problem(model, y, goal)
        best, margin = x.clone(), torch.full((len(x),), -torch.inf, device=x.device)
        done = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for restart in range(self.restarts):
            left, length = model.left(), self.iterations
            queries = torch.full((len(x),), self.iterations, device=x.device)
            if left is not None and budget.queries is not None:
                queries = torch.minimum(queries, left)
                # the same for all rows, whatever the others have left
                length = min(length, budget.queries - restart * self.iterations)
            source = ctx.generator("squares", *([restart] if restart else []))
            chance = Chance(source, ctx.draw)
            found = self.search(problem, x, done, queries, length, region, chance)
            better = found.done | (found.margin > margin)
            best[better], margin[better] = found.x_adv[better], found.margin[better]
            done = done | found.done
            if bool(done.all()):
                break
        return best

    def search(
        self,
        problem: Problem,
        x: Tensor,
        skip: Tensor,
        queries: Tensor,
        length: int,
        region: Ball,
        chance: Chance,
    ) -> Found:
        """Run the algorithm once.

        Args:
            problem: the problem of all rows.
            x: clean inputs, ``[B, C, H, W]``.
            skip: rows that need no search, bool ``[B]``.
            queries: most queries of each row, ``[B]``.
            length: iterations of a whole search, over which the windows shrink.
            region: the ball.
            chance: source of random numbers, which are drawn for all rows.
        """
        norm, eps = region
        distribution = DISTRIBUTIONS[norm]
        best, margin = x.clone(), torch.full((len(x),), -torch.inf, device=x.device)
        done = torch.zeros_like(skip)
        for iteration in range(int(queries.max())):
            rows = (~done & ~skip & (iteration < queries)).nonzero().flatten()
            if len(rows) == 0:
                break
            # chance is drawn for all rows, so that none depends on the others' success
            if iteration == 0:
                x_new = distribution.initialize(x, eps, chance)[rows]
            else:
                h = window_side(p_selection(self.share, iteration / length), x.shape)
                x_new = distribution.sample(best, x, eps, h, chance, rows)
            active = problem.rows(rows)
            logits = active.predict(x_new)
            new, ends = active.margin(logits), active.done(logits)
            better = ends | (new > margin[rows])
            best[rows[better]], margin[rows[better]] = x_new[better], new[better]
            done[rows] = ends
        return Found(best, margin, done)


class Found(NamedTuple):
    """Result of a search.

    Attributes:
        x_adv: inputs, ``[B, …]``.
        margin: their margin, ``[B]``; minus infinity where there was no search.
        done: which of them are past the decision boundary, bool ``[B]``.
    """

    x_adv: Tensor
    margin: Tensor
    done: Tensor
