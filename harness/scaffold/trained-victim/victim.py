"""A trained network, with a recipe that trains it anew."""

from __future__ import annotations

from torch import Tensor, nn

from harness.runtime.contracts import Data, Spec
from harness.runtime.recipe import Recipe

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

    def recipe(self, train: Data) -> Recipe:
        """Return the training recipe, of which a defence may change fields."""
        return Recipe(steps=self.steps, batch=32, lr=0.05, head=self.head)
