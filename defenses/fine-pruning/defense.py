"""Fine-pruning (Liu, Dolan-Gavitt and Garg, RAID 2018): prune idle channels, then fine-tune."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, NotApplicable, Victim
from harness.runtime.training import loss_of


class FinePruning:
    """Pruning of the last stage's channels, from the idlest up, and fine-tuning on clean data.

    Args:
        share: largest share of the channels that is pruned.
        drop: accuracy on the clean data that pruning may cost, before fine-tuning.
        steps: steps of fine-tuning by the victim's own recipe.
    """

    def __init__(self, *, share: float, drop: float, steps: int) -> None:
        self.share, self.drop, self.steps = share, drop, steps

    def repair(self, victim: Victim, network: nn.Module, clean: Data, ctx: Context) -> nn.Module:
        network.eval()
        stage = network.get_submodule(victim.stages[-1])
        idle = self.idle(network, stage, clean)
        ctx.log(f"fine-pruning: {len(idle)} channels of {victim.stages[-1]} pruned")
        own = loss_of(victim, clean.spec)

        def loss(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            prune(stage, idle)  # each step of fine-tuning may have changed them
            return own(net, x, y)

        prune(stage, idle)
        if self.steps:
            recipe = replace(victim.recipe(clean), steps=self.steps)
            victim.fit(network, clean, clean, loss, ctx, recipe)
            prune(stage, idle)
        if float(activity(network.eval(), stage, clean)[idle].sum()) != 0:
            raise NotApplicable("the last stage does not end in its last convolution's channels")
        return network

    def idle(self, network: nn.Module, stage: nn.Module, clean: Data) -> Tensor:
        """Return the channels to prune: the idlest, as many as ``share`` and ``drop`` allow."""
        order = activity(network, stage, clean).argsort(stable=True)
        mask = torch.ones(len(order), device=order.device)
        handle = stage.register_forward_hook(
            lambda module, inputs, output: output * mask.view(1, -1, 1, 1)
        )
        least = accuracy(network, clean) - self.drop
        count = 0
        while count < int(self.share * len(order)):
            mask[order[count]] = 0
            if accuracy(network, clean) < least:
                break
            count += 1
        handle.remove()
        return order[:count]


def activity(network: nn.Module, stage: nn.Module, clean: Data) -> Tensor:
    """Return the mean magnitude of each channel of a stage's output on the clean data, ``[C]``."""
    sums: list[Tensor] = []
    handle = stage.register_forward_hook(
        lambda module, inputs, output: sums.append(output.abs().mean(dim=(2, 3)).sum(dim=0))
    )
    with torch.no_grad():
        for x, _ in clean.batches(100):
            network(x)
    handle.remove()
    return torch.stack(sums).sum(dim=0) / len(clean)


def accuracy(network: nn.Module, clean: Data) -> float:
    """Return the share of the clean data that the network classifies correctly."""
    with torch.no_grad():
        hits = [(network(x).argmax(dim=1) == y).sum() for x, y in clean.batches(100)]
    return int(torch.stack(hits).sum()) / len(clean)


def prune(stage: nn.Module, channels: Tensor) -> None:
    """Zero channels of a stage's last convolution and batch norm, so that a state dict holds it."""
    convolutions = [m for m in stage.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in stage.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        for module in (*convolutions[-1:], *norms[-1:]):
            module.weight[channels] = 0
            if module.bias is not None:
                module.bias[channels] = 0
