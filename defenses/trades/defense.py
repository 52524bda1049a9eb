"""TRADES (Zhang et al., ICML 2019): cross entropy on clean inputs, divergence on attacked ones."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime import dense
from harness.runtime.contracts import Adversary, Context, Data, Victim
from harness.runtime.weight_perturbation import attacked_loss


class Trades:
    """Training by the victim's recipe; the benchmark's ``adversary:`` names attack and budget.

    Args:
        beta: weight of the divergence, the paper's 1/λ.
        gamma: adversarial weight perturbation γ (Wu et al., NeurIPS 2020), as a share of the
            weights' length in each layer; 0 is none.
    """

    def __init__(self, *, beta: float, gamma: float) -> None:
        self.beta, self.gamma = beta, gamma

    def fit(
        self,
        victim: Victim,
        network: nn.Module,
        train: Data,
        val: Data,
        adversary: Adversary | None,
        ctx: Context,
    ) -> None:
        assert adversary is not None, "the manifest requires an adversary"

        def loss(net: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
            return trades_loss(net(x), net(x_adv), y, self.beta)

        victim.fit(network, train, val, attacked_loss(adversary, loss, self.gamma), ctx)


def trades_loss(clean: Tensor, attacked: Tensor, y: Tensor, beta: float) -> Tensor:
    """Return −log p_y(x) + β KL(p(x) ‖ p(x′)), ``[B]``: equation 5, with the authors' divergence.

    Args:
        clean: logits of the clean inputs x, ``[B, K]``.
        attacked: logits of the attacked inputs x′, ``[B, K]``.
        y: labels, int64 ``[B]``.
        beta: weight of the divergence, whose gradient goes through both predictions.
    """
    natural = F.cross_entropy(clean, y, reduction="none")
    return natural + beta * dense.divergence(clean, attacked)
