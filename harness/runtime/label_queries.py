"""Queries of which only the class of the answer is read, counted for each row."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.runtime.contracts import QueryRefused
from harness.runtime.gradients import like_rows
from harness.runtime.problem import Problem

REQUEST = 256
"""Most inputs in one request, so that the network's memory does not grow with the rows."""
KEPT = 1
"""Queries of a row that a search leaves for ``settle``."""
BEYOND = 1e-4
"""Share of its change by which ``settle`` moves an input. Rounding in batches of another size moved
2 of 50 inputs at the boundary back, in L∞; this is some hundred times as much."""


class LabelQueries:
    """Asks whether inputs are wrong, and stops a row alone when it has no query left.

    An oracle refuses a whole batch for one row, and may charge a query to another row than the one
    that it was asked for. Here a refused batch is asked again row by row, and a row that is
    refused alone has no query left. Answers may be scores or labels.

    Args:
        problem: the problem of all rows.
        most: queries of each row at most; an oracle's limit comes first. ``None``: no limit but
            the oracle's.

    Attributes:
        left: queries that a search may still use for each row, int64 ``[B]``: ``KEPT`` fewer than
            are left; a very large number where nothing limits them.
    """

    def __init__(self, problem: Problem, most: int | None = None) -> None:
        self._problem = problem
        limit = torch.iinfo(torch.int64).max if most is None else most - KEPT
        self.left = torch.full((len(problem.y),), limit, device=problem.y.device)
        self._read_limit()

    def wrong(self, points: Tensor, rows: Tensor) -> Tensor:
        """Return which inputs are as the attacker wants them, bool ``[R]``; a query each.

        Args:
            points: inputs, float32 in [0, 1] ``[R, …]``.
            rows: the row of the batch that each belongs to, int64 ``[R]``; no row more often than
                ``left`` says.

        Returns:
            The answers; false where the oracle refused one.
        """
        if not len(rows):
            return torch.zeros_like(rows, dtype=torch.bool)
        parts = zip(torch.split(points, REQUEST), torch.split(rows, REQUEST), strict=True)
        return torch.cat([self._ask(*part) for part in parts])

    def with_left(self, rows: Tensor, number: int = 1) -> Tensor:
        """Return those of some rows that have a number of queries left, int64."""
        return rows[self.left[rows] >= number]

    def settle(self, x: Tensor, nearest: Tensor) -> Tensor:
        """Return inputs moved away from the boundary by ``BEYOND``, where they stay wrong there.

        A search ends so close to the boundary that the sums of a batch of another size, rounded
        otherwise, may be on its other side. This is a query for each row that has changed.

        Args:
            x: clean inputs, ``[B, …]``.
            nearest: wrong inputs, or the clean ones, ``[B, …]``.
        """
        changed, limit = (nearest != x).flatten(1).any(dim=1), self._problem.model.left()
        if limit is not None:
            changed &= limit.to(self.left) > 0
        rows = changed.nonzero().flatten()
        points = (x + (1 + BEYOND) * (nearest - x)).clamp(0, 1)
        stays = self.wrong(points[rows], rows)
        kept = torch.zeros_like(changed).index_fill(0, rows[stays], value=True)
        return torch.where(like_rows(kept, x), points, nearest)

    def _ask(self, points: Tensor, rows: Tensor) -> Tensor:
        problem = self._problem.rows(rows)
        try:
            answer = problem.predict(points)
        except QueryRefused:
            return self._ask_singly(points, rows)
        self.left -= torch.bincount(rows, minlength=len(self.left))
        self._read_limit()
        if answer.ndim == 1:
            answer = F.one_hot(answer, problem.model.spec.outputs)
        return ~problem.active(answer)

    def _ask_singly(self, points: Tensor, rows: Tensor) -> Tensor:
        own = torch.unique(rows)
        found = torch.zeros_like(rows, dtype=torch.bool)
        if len(own) == 1:
            self.left[own] = 0
            return found
        for row in own:
            mine = rows == row
            found[mine] = self._ask(points[mine], rows[mine])
        return found

    def _read_limit(self) -> None:
        limit = self._problem.model.left()
        if limit is not None:
            self.left = torch.minimum(self.left, limit.to(self.left) - KEPT)
