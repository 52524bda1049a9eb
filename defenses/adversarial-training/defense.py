"""Adversarial training (Madry et al., ICLR 2018): the victim's recipe on attacked inputs."""

from __future__ import annotations

from torch import Tensor, nn

from harness.runtime.contracts import Adversary, Context, Data, Victim
from harness.runtime.training import loss_of
from harness.runtime.weight_perturbation import attacked_loss


class AdversarialTraining:
    """Training on attacked inputs; the benchmark's ``adversary:`` names attack and budget.

    Args:
        clean: weight of the loss on clean inputs; the paper's is 0.
        gamma: adversarial weight perturbation γ (Wu et al., NeurIPS 2020), as a share of the
            weights' length in each layer; 0 is none.
    """

    def __init__(self, *, clean: float, gamma: float) -> None:
        self.clean, self.gamma = clean, gamma

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
        own = loss_of(victim, train.spec)

        def loss(net: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
            attacked = own(net, x_adv, y)
            if self.clean == 0:
                return attacked
            return (1 - self.clean) * attacked + self.clean * own(net, x, y)

        victim.fit(network, train, val, attacked_loss(adversary, loss, self.gamma), ctx)
