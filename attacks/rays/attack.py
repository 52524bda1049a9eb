"""RayS (Chen and Gu, KDD 2020): a search among signs, by blocks that get smaller."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model, NotApplicable
from harness.runtime.gradients import like_rows
from harness.runtime.label_queries import LabelQueries
from harness.runtime.problem import Problem

from .blocks import Blocks

LONGEST = 1.0
"""L∞ distance at which every ray has left [0, 1]."""


class RayS:
    """Flips the signs of one block at a time, and keeps the ray whose wrong input is nearest.

    Args:
        max_queries: most queries of a row; an oracle's limit comes first.
        tolerance: Euclidean length of the last interval of a binary search; it is divided by
            the root of the number of values, for a length in L∞.
    """

    def __init__(self, *, max_queries: int, tolerance: float) -> None:
        self.max_queries, self.tolerance = max_queries, tolerance

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        if budget.norm != "linf" or not budget.minimal:
            raise NotApplicable("it looks for the nearest wrong input, in linf")
        queries = LabelQueries(Problem(model, y, goal), self.max_queries)
        rays = Rays(x, self.tolerance / x[0].numel() ** 0.5)
        rows = queries.with_left(torch.arange(len(x), device=x.device))
        rows = rows[~queries.wrong(x[rows], rows)]  # what is wrong already needs no search
        while True:
            rows = queries.with_left(rows[~rays.blocks.ended[rows]])
            if not len(rows):
                return queries.settle(x, rays.nearest)
            points = rays.points(rows)
            rays.learn(rows, points, queries.wrong(points, rows))


class Rays:
    """State of the search of all rows: each is in a fast check or in a binary search.

    Rows ask one query each in turn, wherever they are: none waits for another one.

    Args:
        x: clean inputs, ``[B, …]``.
        tolerance: length of the last interval of a binary search, in L∞.

    Attributes:
        blocks: the block that is tried of each row.
        nearest: nearest wrong input that was found, or the clean one, ``[B, …]``.
    """

    def __init__(self, x: Tensor, tolerance: float) -> None:
        self._x, self._tolerance = x, tolerance
        self.blocks = Blocks(len(x), x[0].numel(), x.device)
        self.nearest = x.clone()
        self._signs = torch.ones_like(x)
        self._radius = torch.full((len(x),), LONGEST, device=x.device)
        self._found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self._searching = torch.zeros_like(self._found)
        self._low, self._high = torch.zeros_like(self._radius), self._radius.clone()

    def points(self, rows: Tensor) -> Tensor:
        """Return the next query of each row, ``[R, …]``."""
        middle = (self._low + self._high)[rows] / 2
        radius = torch.where(self._searching[rows], middle, self._radius[rows])
        change = like_rows(radius, self._x) * self._flipped(rows)
        return (self._x[rows] + change).clamp(0, 1)

    def learn(self, rows: Tensor, points: Tensor, wrong: Tensor) -> None:
        """Take in the answers to ``points``, bool ``[R]``."""
        searching = self._searching[rows]
        self._check(rows[~searching], points[~searching], wrong[~searching])
        self._halve(rows[searching], points[searching], wrong[searching])

    def _check(self, rows: Tensor, points: Tensor, wrong: Tensor) -> None:
        """Begin a binary search where the flipped ray is wrong at the best radius."""
        hit = rows[wrong]
        self._searching[hit] = True
        self._low[hit], self._high[hit] = 0, self._radius[hit]
        # the first wrong ray is the best one, whatever its radius is
        first = ~self._found[hit]
        self.nearest[hit[first]] = points[wrong][first]
        self.blocks.advance(rows[~wrong], rows[:0])

    def _halve(self, rows: Tensor, points: Tensor, wrong: Tensor) -> None:
        """Halve the interval of a binary search; keep a nearer ray where that ends."""
        middle = (self._low + self._high)[rows] / 2
        hit = rows[wrong]
        self._high[hit], self._low[rows[~wrong]] = middle[wrong], middle[~wrong]
        self.nearest[hit] = points[wrong]
        ended = rows[(self._high - self._low)[rows] <= self._tolerance]
        better = ended[(self._high < self._radius)[ended] | ~self._found[ended]]
        self._signs[better] = self._flipped(better)
        self._radius[better] = self._high[better]
        self._found[ended] = True
        self._searching[ended] = False
        self.blocks.advance(ended, better)

    def _flipped(self, rows: Tensor) -> Tensor:
        """Return the best signs with those of the block turned, ``[R, …]``."""
        inside = self.blocks.inside(rows).view(len(rows), *self._x.shape[1:])
        return torch.where(inside, -self._signs[rows], self._signs[rows])
