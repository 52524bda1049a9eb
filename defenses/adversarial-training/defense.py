"""Adversarial training: the victim's own recipe, on inputs that an attack has just perturbed."""

from __future__ import annotations

from torch import Tensor, nn

from harness.runtime.contracts import Adversary, Context, Data, NotApplicable, Victim
from harness.runtime.training import loss_of


class AdversarialTraining:
    """Madry et al. 2018; which attack at which budget is the benchmark's choice (``adversary:``).

    Args:
        clean: weight of the loss on clean inputs; 0 is the paper's, which trains on attacked ones
            only.
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
        if adversary is None:
            raise NotApplicable("adversarial training needs an adversary: in the matrix entry")
        own = loss_of(victim, train.spec.task)

        def loss(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            attacked = own(net, adversary(net, x, y), y)
            if self.clean == 0:
                return attacked
            return (1 - self.clean) * attacked + self.clean * own(net, x, y)

        victim.fit(network, train, val, loss, ctx)
