"""Health of the gradients that an attack asks for, as the broker sees them pass.

The broker knows neither labels nor the attack's loss, but it sees the gradient that the attack
gives for the network's outputs and the one that it gets for its inputs: together they foretell how
the outputs change, which one more forward pass can tell.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from harness.runtime.worker import health_names as names
from harness.runtime.worker.gradient_health import RADIUS, alignment, foretell, moves_along

TRIED = 8
"""Most rows of a batch for which outputs are asked once more."""
SHARE = 24
"""At most one in so many rows is tried: with all directions, both ways, a quarter of a pass."""
DIRECTIONS = 2
"""Random directions that the gradient's is compared with."""


@dataclass(frozen=True)
class Kept:
    """Forward pass from which a backward pass may come.

    Attributes:
        kind: the request.
        tensors: copies of what it brought, the inputs first.
    """

    kind: str
    tensors: Sequence[Tensor]


@dataclass(frozen=True)
class Trial:
    """Forward pass that tells whether a gradient foretells how outputs change.

    Differences are central: one-sided ones rise along any direction where a loss is curved.

    Attributes:
        kind: request, as the attack made it.
        tensors: what it brings: some rows along the gradient's signs and along random ones, then
            the same rows the other way.
        given: gradients of the outputs, row by row.
        gradient: gradient in the inputs, as the network claims it.
        moves: from the second half of the inputs to the first, ``[1 + DIRECTIONS, R, …]``.
        rows: number of each input's row in the pass that the gradient is of.
    """

    kind: str
    tensors: list[Tensor]
    given: Sequence[Tensor]
    gradient: Tensor
    moves: Tensor
    rows: Tensor


@dataclass
class PassHealth:
    """Figures on the backward passes of an attack, batch by batch.

    Attributes:
        batches: number of batches that have begun.
        rows: rows in first and in last backward passes of the batches.
        bad: rows among them whose gradient is zero or not finite.
        saturated: rows in first passes for which the attack's own gradient is exactly zero.
        most: largest number of backward passes for an example of a batch, in the mean of the batch.
        gains: gain of each row that was tried, see ``gradient_health.alignment``.
        agreements: agreement of each row that was tried.
    """

    batches: int = 0
    rows: dict[str, int] = field(default_factory=lambda: {"first": 0, "last": 0})
    bad: dict[str, int] = field(default_factory=lambda: {"first": 0, "last": 0})
    saturated: int = 0
    most: float = 0.0
    gains: list[float] = field(default_factory=list)
    agreements: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)
        self._kept: dict[int, Kept] = {}
        self._losses: set[int] = set()  # graphs whose inputs are outputs of the network
        self._batch = 0  # rows of the present one
        self._passed = 0  # rows in its backward passes so far
        self._last = (0, 0)  # rows and bad rows of the last of them

    def begin(self, rows: int) -> None:
        """Begin a batch."""
        self.end()
        self.batches += 1
        self._batch, self._passed, self._last = rows, 0, (0, 0)

    def end(self) -> None:
        """End the present batch, if there is one."""
        if self._batch:
            self.most = max(self.most, self._passed / self._batch)
            self.rows["last"] += self._last[0]
            self.bad["last"] += self._last[1]
        self._batch = 0
        self._kept.clear()
        self._losses.clear()

    def keep(self, number: int, kind: str, tensors: Sequence[Tensor]) -> None:
        """Note a forward pass whose graph is kept; only before a batch's first backward pass.

        Args:
            number: its graph.
            kind: the request.
            tensors: what it brought.
        """
        if kind == "training_loss_of":
            self._losses.add(number)
        elif self._batch and not self._passed:
            self._kept[number] = Kept(kind, [one.clone() for one in tensors])

    def free(self, number: int) -> None:
        """Forget a forward pass."""
        self._kept.pop(number, None)
        self._losses.discard(number)

    def backward(
        self, number: int, given: Sequence[Tensor | None], gradient: Tensor
    ) -> Trial | None:
        """Count a backward pass to inputs; return what to try for a batch's first one.

        Args:
            number: its graph.
            given: the attack's gradient of each output, ``None`` where it gave none.
            gradient: gradient in the inputs.
        """
        if not self._batch or number in self._losses:
            return None
        rows, bad = len(gradient), bad_rows(gradient)
        first, kept = not self._passed, self._kept.pop(number, None)
        self._passed += rows
        self._last = rows, bad
        if not first:
            return None
        self._kept.clear()
        self.rows["first"] += rows
        self.bad["first"] += bad
        pulled = pulled_rows(given, rows)
        self.saturated += rows - int(pulled.sum())
        if kept is None or not pulled.any():
            return None
        some = pulled.nonzero().flatten()[: max(1, min(TRIED, rows // SHARE))]
        return self._trial(kept, given, gradient, some)

    def _trial(
        self, kept: Kept, given: Sequence[Tensor | None], gradient: Tensor, some: Tensor
    ) -> Trial:
        part, x = gradient[some].clone(), kept.tensors[0][some]
        moves = torch.stack([*moves_along(part, DIRECTIONS, self._generator)])
        after, before = ((x + sign * RADIUS * moves).clamp(0, 1) for sign in (1, -1))
        count = 2 * len(moves)
        others = [one[some].repeat(count, *[1] * (one.ndim - 1)) for one in kept.tensors[1:]]
        return Trial(
            kind=kept.kind,
            tensors=[torch.cat([after, before]).flatten(0, 1), *others],
            given=[one[some].clone() for one in given if one is not None],
            gradient=part,
            moves=after - before,
            rows=some.repeat(count),
        )

    def tried(self, trial: Trial, outputs: Sequence[Tensor]) -> None:
        """Note the outputs of a trial, one for each gradient that was given."""
        count, rows = trial.moves.shape[:2]
        changes = torch.zeros(count, rows, dtype=torch.float64)
        for given, found in zip(trial.given, outputs, strict=True):
            after, before = found.double().reshape(2, count, *given.shape)
            changes += ((after - before) * given.double()).reshape(count, rows, -1).sum(2)
        gains, agreements = alignment([*foretell(trial.gradient, trial.moves)], changes)
        self.gains += gains.tolist()
        self.agreements += agreements.tolist()

    def figures(self) -> dict[str, float]:
        """Return name of ``health_names.ATTACK`` → number; without batches, nothing."""
        self.end()
        if not self.batches:
            return {}
        found = {names.BACKWARD: round(self.most, 2)}
        if first := self.rows["first"]:
            found[names.ATTACK_ZERO_START] = self.bad["first"] / first
            found[names.ATTACK_ZERO_END] = self.bad["last"] / self.rows["last"]
            found[names.SATURATED] = self.saturated / first
        if self.gains:
            found[names.ATTACK_GAIN] = statistics.median(self.gains)
            found[names.ATTACK_AGREEMENT] = statistics.fmean(self.agreements)
        return found


def bad_rows(gradient: Tensor) -> int:
    """Return how many rows of a gradient are zero or hold a value that is not finite."""
    flat = gradient.numpy().reshape(len(gradient), -1)  # numpy's calls cost a tenth of torch's
    sums = flat.sum(axis=1, dtype=np.float64)  # of finite float32 values it is finite
    return int((~flat.any(axis=1) | ~np.isfinite(sums)).sum())


def pulled_rows(given: Sequence[Tensor | None], rows: int) -> Tensor:
    """Return for which rows an attack gives a gradient of the outputs, bool ``[R]``."""
    pulled = torch.zeros(rows, dtype=torch.bool)
    for one in given:
        if one is not None:
            pulled |= one.reshape(rows, -1).any(dim=1)
    return pulled
