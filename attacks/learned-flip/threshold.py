"""Updates of the threshold λ, which separates the gains of flipped rows from the others."""

from __future__ import annotations

import torch
from torch import Tensor

SWEEPS = 2
"""Passes over the gains after each round, if λ moves by steps."""
RATE = 0.05
"""Learning rate of λ with ``sgd``; the gradient is the difference of the two shares."""
SNAPSHOT_RATE, SNAPSHOT_DECAYS = 1e-5, (8, 14)
"""Learning rate of λ in the public snapshot, by Adam, and the rounds after which it decays."""


def quantile(gains: Tensor, count: int) -> float:
    """Return the (count + 1)-th largest gain: without ties, ``count`` gains are above it.

    >>> quantile(torch.tensor([3.0, 1.0, 2.0]), 1)
    2.0
    """
    if count >= len(gains):
        return float(gains.min()) - 1
    return float(gains.sort(descending=True).values[count])


def share_above(gains: Tensor, threshold: float) -> float:
    """Return the share of rows whose gain is above λ."""
    return float((gains > threshold).float().mean())


class Quantile:
    """Exact maximiser of the inner problem: ``count`` gains are above λ, its ``value``."""

    def __init__(self, count: int, batch: int) -> None:
        self.count, self.batch, self.value = count, batch, 0.0

    def update(self, gains: Tensor) -> None:
        """Set λ from the gains of all rows, ``[N]``."""
        self.value = quantile(gains, self.count)

    start = update


class Sgd(Quantile):
    """Gradient ascent of the inner problem, from 0."""

    def start(self, gains: Tensor) -> None:
        """Leave λ at 0 before the first round."""

    def update(self, gains: Tensor) -> None:
        for part in [*gains.split(self.batch)] * SWEEPS:
            self.step(share_above(part, self.value) - self.count / len(gains))

    def step(self, gradient: float) -> None:
        """Take one step along the gradient."""
        self.value += RATE * gradient


class Snapshot(Sgd):
    """Adam as in the snapshot of the authors' code, where λ hardly moves."""

    def __init__(self, count: int, batch: int) -> None:
        super().__init__(count, batch)
        self._lambda, self._round = torch.zeros(()), 0
        self._adam = torch.optim.Adam([self._lambda], SNAPSHOT_RATE)

    def update(self, gains: Tensor) -> None:
        super().update(gains)
        self._round += 1
        if self._round in SNAPSHOT_DECAYS:
            self._adam.param_groups[0]["lr"] *= 0.1

    def step(self, gradient: float) -> None:
        self._lambda.grad = torch.tensor(-gradient)
        self._adam.step()
        self.value = float(self._lambda)


MODES = {"quantile": Quantile, "sgd": Sgd, "snapshot": Snapshot}
