"""Adversarial fine-tuning: training goes on against a learned attack that stays frozen."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from harness.runtime.contracts import Adversary, Context, Data, Victim
from harness.runtime.training import loss_of


class AdversarialFineTuning:
    """Training against a static attack, as with other models' examples (Tramèr et al., ICLR 2018).

    Args:
        steps: gradient steps against the frozen attack.
        clean: weight of the loss on clean inputs.
        pretrain: whether the victim's own recipe runs first.
    """

    def __init__(self, *, steps: int, clean: float, pretrain: bool) -> None:
        self.steps, self.clean, self.pretrain = steps, clean, pretrain

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
        if self.pretrain:
            victim.fit(network, train, val, own, ctx)
        adversary.learn(network, train, val)

        def loss(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            attacked = own(net, adversary(net, x, y), y)
            return (1 - self.clean) * attacked + self.clean * own(net, x, y)

        recipe = replace(victim.recipe(train), steps=self.steps)
        victim.fit(network, train, val, loss, ctx, recipe)
