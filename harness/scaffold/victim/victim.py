"""A linear classifier with its training recipe: the smallest victim."""

from __future__ import annotations

from torch import nn

from harness.runtime.contracts import Context, Data, Loss, Spec
from harness.runtime.training import fit


class Victim:
    """Softmax regression on pixels."""

    head = "1"  # path of the last layer
    stages = ("0",)  # paths of feature maps, shallow to deep

    def __init__(self, *, steps: int) -> None:
        self.steps = steps

    def build(self, spec: Spec) -> nn.Module:
        """Return an untrained network from inputs in [0, 1] to logits; it normalises inside."""
        pixels = spec.shape[0] * spec.shape[1] * spec.shape[2]
        return nn.Sequential(nn.Flatten(), nn.Linear(pixels, spec.outputs))

    def fit(
        self,
        network: nn.Module,
        train: Data,
        val: Data,
        loss: Loss,
        ctx: Context,
        steps: int | None = None,
    ) -> None:
        """Train the network in place on ``loss(network, x, y)``, which may be a defence's."""
        fit(network, train, loss, ctx, steps=steps or self.steps, batch=64, lr=0.5)
