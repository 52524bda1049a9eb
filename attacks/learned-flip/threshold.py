"""How the one number moves: between the gains of the rows that are turned and of the others."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

SWEEPS = 2
"""Passes over the gains after each round, where λ moves by steps."""
RATE = 0.05
"""Step of ``sgd``, times how far the share above λ is from the wanted one."""
SNAPSHOT_RATE, SNAPSHOT_DECAYS = 1e-5, (8, 14)
"""Adam's rate for λ in the public snapshot, and the rounds after which it falls to a tenth."""


def quantile(gains: Tensor, count: int) -> float:
    """The (count + 1)-th largest gain: without ties, just ``count`` lie above it.

    >>> quantile(torch.tensor([3.0, 1.0, 2.0]), 1)
    2.0
    """
    if count >= len(gains):
        return float(gains.min()) - 1
    return float(gains.sort(descending=True).values[count])


def share_above(gains: Tensor, threshold: float) -> float:
    """Share of the rows whose gain is above λ."""
    return float((gains > threshold).float().mean())


class Quantile:
    """The exact maximiser of the inner problem."""

    value = 0.0

    def move(self, gains: Tensor, count: int, parts: Iterable[Tensor]) -> None:
        """Set λ by the gains of all rows; ``parts`` are the same, by batches."""
        self.value = quantile(gains, count)

    start = move


class Sgd:
    """Steps along the inner gradient, from 0."""

    value = 0.0

    def start(self, gains: Tensor, count: int, parts: Iterable[Tensor]) -> None:
        """λ is 0 before the first round."""

    def move(self, gains: Tensor, count: int, parts: Iterable[Tensor]) -> None:
        """Two sweeps over the batches."""
        for part in [*parts] * SWEEPS:
            self.value += RATE * (share_above(part, self.value) - count / len(gains))


class Snapshot(Sgd):
    """As in the snapshot of the authors' code: too slow to matter."""

    def __init__(self) -> None:
        self._lambda = torch.zeros(())
        self._rule, self._round = torch.optim.Adam([self._lambda], SNAPSHOT_RATE), 0

    def move(self, gains: Tensor, count: int, parts: Iterable[Tensor]) -> None:
        """Two sweeps over the batches."""
        for part in [*parts] * SWEEPS:
            self._lambda.grad = torch.tensor(count / len(gains) - share_above(part, self.value))
            self._rule.step()
            self.value = float(self._lambda)
        self._round += 1
        if self._round in SNAPSHOT_DECAYS:
            self._rule.param_groups[0]["lr"] *= 0.1


MODES = {"quantile": Quantile, "sgd": Sgd, "snapshot": Snapshot}
