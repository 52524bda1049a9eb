"""Fine-pruning (Liu, Dolan-Gavitt and Garg, RAID 2018): prune idle channels, then fine-tune."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, Victim
from harness.runtime.epochs import accuracy
from harness.runtime.pruning import Unit, activity, find_units
from harness.runtime.training import loss_of

BATCH = 100
"""Images of a pass."""

TRIALS = 64
"""Largest number of times that the accuracy is measured if all channels may be pruned."""


class FinePruning:
    """Pruning of the last convolution's channels, from the idlest up, and fine-tuning.

    Args:
        share: largest share of the channels that is pruned.
        drop: accuracy on the clean data that pruning may cost, before fine-tuning.
        steps: steps of fine-tuning by the victim's own recipe.
    """

    def __init__(self, *, share: float, drop: float, steps: int) -> None:
        self.share, self.drop, self.steps = share, drop, steps

    def repair(self, victim: Victim, network: nn.Module, clean: Data, ctx: Context) -> nn.Module:
        path, unit = list(find_units(network, victim.head).items())[-1]
        idle = self.idle(network, unit, clean)
        unit.silence(idle)
        ctx.log(f"fine-pruning: {len(idle)} of {unit.conv.out_channels} channels of {path} pruned")
        if self.steps:
            recipe = replace(
                victim.recipe(clean),
                steps=self.steps,
                selection=None,
                average=None,
                project=lambda net, step: unit.silence(idle),
            )
            loss = loss_of(victim, clean.spec, recipe.label_smoothing)
            victim.fit(network, clean, clean, loss, ctx, recipe)
        return network

    def idle(self, network: nn.Module, unit: Unit, clean: Data) -> Tensor:
        """Return the channels to prune: the idlest, as many as ``share`` and ``drop`` allow.

        In wide layers several channels are tried at once.
        """
        (mean,) = activity(network, [unit], clean, BATCH)
        order = mean.argsort(stable=True)
        most, step = int(self.share * len(order)), max(1, len(order) // TRIALS)
        kept = [tensor.detach().clone() for tensor in unit.tensors()]
        least, count = accuracy(network, clean, BATCH) - self.drop, 0
        for tried in (*range(step, most, step), most):
            unit.silence(order[:tried])
            if accuracy(network, clean, BATCH) < least:
                break
            count = tried
        with torch.no_grad():
            for tensor, before in zip(unit.tensors(), kept, strict=True):
                tensor.copy_(before)
        return order[:count]
