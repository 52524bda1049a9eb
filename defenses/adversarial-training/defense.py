"""Adversarial training (Madry et al., ICLR 2018): the victim's recipe on attacked inputs."""

from __future__ import annotations

from torch import Tensor, nn

from harness.runtime.contracts import Adversary, Context, Data, Victim
from harness.runtime.training import loss_of


class AdversarialTraining:
    """Training on attacked inputs; the benchmark's ``adversary:`` names attack and budget.

    Args:
        clean: weight of the loss on clean inputs; the paper's is 0.
    """

    def __init__(self, *, clean: float) -> None:
        self.clean = clean

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

        def loss(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            attacked = own(net, adversary(net, x, y), y)
            if self.clean == 0:
                return attacked
            return (1 - self.clean) * attacked + self.clean * own(net, x, y)

        victim.fit(network, train, val, loss, ctx)
