"""Ledger of a query oracle: which example a query belongs to, and how many it has had.

A query is charged to the example whose clean input is nearest, in the measure of the budget. What
an attack says of its rows decides between equally near ones only: with its word alone, it could
spend the queries of examples that it has given up on others.

Where the nearest wrong input is looked for, queries may lie far from all clean inputs, noise among
them. There the word counts unless another example is ``CLEARLY`` nearer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.runtime.contracts import Budget, ContractError

SLACK = 1e-5
"""Rounding of a projection onto a ball, relative to its radius."""
CHANGED = 1e-6
"""Smallest change of a pixel that counts, as the judge measures patches."""
CLEARLY = 0.5
"""Share of its distance from the stated example within which a query belongs to another one, where
nothing bounds the distance."""
CHUNK = 4_000_000
"""Numbers that are compared at once."""
OVERSHOOT = 1.0
"""How far a query may leave [0, 1]. One huge value would drown all distances in rounding, so that
every example were equally near; a network that clamps its inputs would not even see it."""


@dataclass(frozen=True)
class Measure:
    """Distance of a query from a clean input.

    Attributes:
        distance: function of differences ``[P, C, …]``, one value each.
        l2_bound: largest Euclidean distance at a distance d, for inputs of D values and C channels:
            it saves most comparisons.
    """

    distance: Callable[[Tensor], Tensor]
    l2_bound: Callable[[Tensor, int, int], Tensor]


def changed_pixels(difference: Tensor) -> Tensor:
    """Return how many pixels differ in any channel, ``[P]``."""
    different = ~(difference.abs() <= CHANGED)  # a NaN is a change
    pixels = different.any(dim=1) if different.ndim > 2 else different
    return pixels.flatten(1).sum(dim=1).double()


MEASURES = {
    "linf": Measure(lambda d: d.flatten(1).abs().amax(dim=1), lambda d, size, _: d * size**0.5),
    "l2": Measure(lambda d: d.flatten(1).norm(dim=1), lambda d, *_: d),
    # values differ by at most 2, and all pixels may differ by what does not count
    "pixels": Measure(
        changed_pixels,
        lambda d, size, channels: ((1 + OVERSHOOT) ** 2 * d * channels + size * CHANGED**2).sqrt(),
    ),
}
"""THE table of measures, by what a budget limits."""


def measure_of(budget: Budget) -> Measure:
    """Return the measure of what a budget limits."""
    if budget.per_channel is None:
        counted = budget.patch or budget.pixels
        return MEASURES[budget.norm or ("pixels" if counted else "l2")]
    # in units of each channel, so that one eps bounds all
    units = torch.tensor(budget.per_channel, dtype=torch.float64).view(-1, 1, 1)
    largest = max(budget.per_channel)
    return Measure(
        lambda d: (d / units).flatten(1).abs().amax(dim=1),
        lambda d, size, _: d * largest * size**0.5,
    )


class QueryLedger:
    """Counts of queries for each example.

    Args:
        clean: the clean inputs in [0, 1], float32 ``[N, C, …]``.
        budget: limits of the attack.
        spent: queries of each example that earlier attacks have had, int64 ``[N]``, or ``None``.

    Attributes:
        counts: queries of each example, those of earlier attacks among them, int64 ``[N]``.
        refused: number of rows in refused batches.
    """

    def __init__(
        self, clean: Tensor, budget: Budget, spent: NDArray[np.int64] | None = None
    ) -> None:
        self.counts = np.zeros(len(clean), np.int64) if spent is None else np.array(spent)
        self.refused = 0
        self._clean, self._budget = clean.cpu().double(), budget
        self._flat = self._clean.flatten(1)
        self._squares = self._flat.square().sum(dim=1)
        self._measure = measure_of(budget)

    def charge(self, x: Tensor, stated: Tensor) -> bool:
        """Count a batch of queries; return false, and count none, if an example has none left.

        Args:
            x: the queries, float32 ``[R, …]``.
            stated: the examples that the attack names, int64 ``[R]``, each in range.

        Raises:
            ContractError: a query lies outside the budget around every example.
        """
        rows = self.nearest(x, stated).numpy()
        asked = np.bincount(rows, minlength=len(self.counts))
        limit = self._budget.queries
        if limit is not None and bool(((self.counts + asked) > limit)[rows].any()):
            self.refused += len(rows)
            return False
        self.counts += asked
        return True

    def left(self, rows: Tensor) -> Tensor | None:
        """Return the queries left of some examples, int64 ``[B]``; ``None``: no limit."""
        if self._budget.queries is None:
            return None
        return self._budget.queries - torch.from_numpy(self.counts)[rows]

    def nearest(self, x: Tensor, stated: Tensor) -> Tensor:
        """Return the nearest example of each query, int64 ``[R]``; of equals the stated one.

        Raises:
            ContractError: a query lies outside the budget around every example.
        """
        if not bool(((x >= -OVERSHOOT) & (x <= 1 + OVERSHOOT)).all()):  # or not a number
            raise ContractError("a query lies outside the budget: its values are far from [0, 1]")
        rows = max(1, CHUNK // max(self._flat.shape))
        parts = [slice(first, first + rows) for first in range(0, len(x), rows)]
        return torch.cat([self._nearest(x[part], stated[part]) for part in parts])

    def _nearest(self, x: Tensor, stated: Tensor) -> Tensor:
        best = stated.clone()
        least = self._distances(x, stated)
        closer = least * CLEARLY if self._budget.minimal else least.clone()
        size, channels = self._flat.shape[1], self._clean.shape[1]
        flat = x.flatten(1).double()
        squares = flat.square().sum(dim=1, keepdim=True) - 2 * flat @ self._flat.T + self._squares
        bound = self._measure.l2_bound(least, size, channels) + 1e-6
        for row, candidates in enumerate(squares <= (bound.square() + 1e-9)[:, None]):
            candidates[stated[row]] = False
            others = candidates.nonzero().flatten()
            for some in others.split(max(1, CHUNK // size)) if len(others) else ():
                distances = self._distances(x[row].expand(len(some), *x.shape[1:]), some)
                place = int(distances.argmin())
                if distances[place] < closer[row]:
                    closer[row] = least[row] = distances[place]
                    best[row] = some[place]
        if bool((least > self._radius()).any()) or not bool(torch.isfinite(least).all()):
            raise ContractError("a query lies outside the budget around every example")
        return best

    def _distances(self, x: Tensor, rows: Tensor) -> Tensor:
        return self._measure.distance(x.double() - self._clean[rows])

    def _radius(self) -> float:
        budget = self._budget
        if budget.norm is not None and budget.eps is not None:
            return budget.eps * (1 + SLACK) + CHANGED / min(budget.per_channel or (1.0,))
        square = budget.patch**2 if budget.patch else float("inf")
        return float(min(square, budget.pixels or float("inf")))
