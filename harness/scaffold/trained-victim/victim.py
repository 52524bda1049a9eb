"""A trained network, with a recipe that trains it anew."""

from __future__ import annotations

from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, Loss, Spec
from harness.runtime.training import fit

MEAN, STD = (0.0,), (1.0,)  # of the inputs, a number for each channel; 0 and 1 change nothing


class Network(nn.Sequential):
    """Layers on inputs that are normalised first."""

    def forward(self, x: Tensor) -> Tensor:
        mean, std = (x.new_tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
        logits: Tensor = super().forward((x - mean) / std)
        return logits


class Victim:
    """Network whose weights exist."""

    head = "HEAD"  # path of the last layer
    stages = ("STAGES",)  # paths of feature maps, shallow to deep

    def __init__(self, *, steps: int) -> None:
        self.steps = steps

    def build(self, spec: Spec) -> nn.Module:
        """Return an untrained network from inputs in [0, 1] to logits; it normalises inside."""
        return Network(
            # LAYERS
        )

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
        fit(network, train, loss, ctx, steps=steps or self.steps, batch=32, lr=0.05)
