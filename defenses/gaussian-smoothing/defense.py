"""Training for randomised smoothing (Cohen, Rosenfeld and Kolter, ICML 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Adversary, Context, Data, Victim
from harness.runtime.training import loss_of


class GaussianSmoothing:
    """Training by the victim's recipe on inputs with Gaussian noise; the harness counts votes.

    Args:
        sigma: standard deviation of the noise, in pixels of [0, 1]; that of the votes, too.
    """

    def __init__(self, *, sigma: float) -> None:
        self.sigma = sigma

    def fit(
        self,
        victim: Victim,
        network: nn.Module,
        train: Data,
        val: Data,
        adversary: Adversary | None,
        ctx: Context,
    ) -> None:
        own = loss_of(victim, train.spec)

        def loss(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            # the training seeds torch at every step, so that a resumed one draws the same noise
            return own(net, x + self.sigma * torch.randn_like(x), y)

        victim.fit(network, train, val, loss, ctx)
