"""HopSkipJump (Chen, Jordan and Wainwright, S&P 2020), algorithm 2: queries of labels alone."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model, NotApplicable
from harness.runtime.gradients import like_rows
from harness.runtime.label_queries import LabelQueries
from harness.runtime.problem import Problem

from .geometry import GEOMETRIES, Geometry
from .probing import Probes, estimate, noise


class HopSkipJump:
    """Walks along the decision boundary: it estimates the normal, steps along it, and returns.

    Args:
        iterations: rounds of estimate, step and return to the boundary.
        probes: queries of the first estimate; round t has √t times as many.
        max_probes: most queries of an estimate.
        init_trials: most queries for a first wrong input.
    """

    def __init__(self, *, iterations: int, probes: int, max_probes: int, init_trials: int) -> None:
        self.iterations, self.init_trials = iterations, init_trials
        self.probes, self.max_probes = probes, max_probes

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        if budget.norm is None or not budget.minimal:
            raise NotApplicable("it looks for the nearest wrong input, in linf or l2")
        queries = LabelQueries(Problem(model, y, goal))
        walk = Walk(queries, x, GEOMETRIES[budget.norm])
        rows = walk.start(ctx, self.init_trials)
        for t in range(1, self.iterations + 1):
            # one query for the step, the others to return to the boundary
            rows = queries.with_left(rows, 2 + walk.halvings)
            if not len(rows):
                break
            number = min(int(self.probes * t**0.5), self.max_probes)
            normal = walk.normal(rows, t, number, ctx)
            walk.step(rows, normal, t)
        return queries.settle(x, walk.nearest)


class Walk:
    """State of the search of all rows.

    Args:
        queries: what is asked.
        x: clean inputs, ``[B, …]``.
        geometry: what the norm decides.

    Attributes:
        edge: wrong input at the boundary of each row, ``[B, …]``.
        radius: distance of the wrong input from which the last return began, ``[B]``.
        nearest: nearest wrong input that was found, or the clean one, ``[B, …]``.
        halvings: queries of a return to the boundary.
    """

    def __init__(self, queries: LabelQueries, x: Tensor, geometry: Geometry) -> None:
        self.queries, self.geometry, self._x = queries, geometry, x
        self.halvings = geometry.halvings(x[0].numel())
        self.edge, self.nearest = x.clone(), x.clone()
        self.radius = torch.zeros(len(x), device=x.device)
        self._least = torch.full_like(self.radius, torch.inf)

    def start(self, ctx: Context, trials: int) -> Tensor:
        """Find a wrong input of each row in noise; return the rows that have one, int64."""
        rows = self.queries.with_left(torch.arange(len(self._x), device=self._x.device))
        begun, outside = rows[:0], self._x.clone()
        # what is wrong already needs no search
        rows = rows[~self.queries.wrong(self._x[rows], rows)]
        for trial in range(trials):
            rows = self.queries.with_left(rows)
            if not len(rows):
                break
            points = noise(self._x, trial, ctx)[rows]
            hit = self.queries.wrong(points, rows)
            outside[rows[hit]] = points[hit]
            begun, rows = torch.cat([begun, rows[hit]]), rows[~hit]
        begun = begun.sort().values
        self._return(begun, outside[begun])
        return begun

    def normal(self, rows: Tensor, t: int, number: int, ctx: Context) -> Tensor:
        """Estimate the boundary's normal at the edge, ``[R, …]``, of length 1 in the norm."""
        delta = self.geometry.probe_radius(self.radius[rows], self._x[0].numel(), t)
        most = (self.queries.left[rows] - self.halvings - 1).clamp_max(number)
        probes = Probes(self.geometry, t, number, most, delta)
        return estimate(self.queries, self.edge, rows, probes, ctx)

    def step(self, rows: Tensor, normal: Tensor, t: int) -> None:
        """Step off the boundary along the normal, by ever less until it is wrong; then return."""
        edge = self.edge[rows]
        length = self.geometry.lengths(edge - self._x[rows]) / t**0.5
        outside, open_ = edge.clone(), torch.ones_like(rows, dtype=torch.bool)
        for _ in range(self.halvings):
            places = (open_ & (self.queries.left[rows] > 0)).nonzero().flatten()
            if not len(places):
                break
            move = like_rows(length[places], edge) * normal[places]
            points = (edge[places] + move).clamp(0, 1)
            hit = self.queries.wrong(points, rows[places])
            outside[places[hit]] = points[hit]
            open_[places[hit]] = False
            length = length / 2
        self._return(rows, outside)

    def _return(self, rows: Tensor, outside: Tensor) -> None:
        """Search the boundary between wrong inputs and the clean ones (algorithm 1)."""
        x, edge = self._x[rows], outside.clone()
        self.radius[rows] = self.geometry.lengths(outside - x)
        low = torch.zeros(len(rows), device=x.device)
        high = torch.ones_like(low)
        moved = (outside != self.edge[rows]).flatten(1).any(dim=1)
        for _ in range(self.halvings):
            places = (moved & (self.queries.left[rows] > 0)).nonzero().flatten()
            if not len(places):
                break
            share = (low + high)[places] / 2
            points = self.geometry.between(x[places], outside[places], share)
            hit = self.queries.wrong(points, rows[places])
            edge[places[hit]] = points[hit]
            high[places[hit]], low[places[~hit]] = share[hit], share[~hit]
        self.edge[rows] = edge
        lengths = self.geometry.lengths(edge - x)
        nearer = rows[lengths < self._least[rows]]
        self._least[rows] = torch.minimum(lengths, self._least[rows])
        self.nearest[nearer] = self.edge[nearer]
