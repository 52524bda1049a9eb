"""MART (Wang et al., ICLR 2020): adversarial training that looks at misclassified examples."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime import dense
from harness.runtime.contracts import Adversary, Context, Data, Victim
from harness.runtime.weight_perturbation import attacked_loss


class Mart:
    """Training by the victim's recipe; the benchmark's ``adversary:`` names attack and budget.

    Args:
        weight: weight of the divergence, the paper's λ.
        gamma: adversarial weight perturbation γ (Wu et al., NeurIPS 2020), as a share of the
            weights' length in each layer; 0 is none.
    """

    def __init__(self, *, weight: float, gamma: float) -> None:
        self.weight, self.gamma = weight, gamma

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
            return mart_loss(net(x), net(x_adv), y, self.weight)

        victim.fit(network, train, val, attacked_loss(adversary, loss, self.gamma), ctx)


def mart_loss(clean: Tensor, attacked: Tensor, y: Tensor, weight: float) -> Tensor:
    """Return BCE(p(x′), y) + λ KL(p(x) ‖ p(x′)) (1 − p_y(x)), ``[B]``: the loss of algorithm 1.

    Args:
        clean: logits of the clean inputs x, ``[B, K]``.
        attacked: logits of the attacked inputs x′, ``[B, K]``.
        y: labels, int64 ``[B]``.
        weight: λ. The gradient goes through 1 − p_y(x), too.
    """
    own = clean.softmax(dim=1).gather(1, y.unsqueeze(1)).squeeze(1)
    apart = dense.divergence(clean, attacked) * (1 - own)
    return boosted_cross_entropy(attacked, y) + weight * apart


def boosted_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return −log p_y − log(1 − max p_k over k ≠ y), ``[B]``: the paper's BCE, of section 3.

    Args:
        logits: ``[B, K]``.
        y: labels, int64 ``[B]``.
    """
    # 1 − p_k is the sum of the others, whose logarithm is finite also where p_k rounds to 1
    best = logits.scatter(1, y.unsqueeze(1), -torch.inf).argmax(dim=1, keepdim=True)
    others = logits.scatter(1, best, -torch.inf).logsumexp(dim=1)
    return F.cross_entropy(logits, y, reduction="none") + logits.logsumexp(dim=1) - others
