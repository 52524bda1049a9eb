"""A linear classifier with its training recipe: the smallest victim."""

from __future__ import annotations

from torch import nn

from harness.runtime.contracts import Data, Spec
from harness.runtime.recipe import Recipe


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

    def recipe(self, train: Data) -> Recipe:
        """Return the training recipe, of which a defence may change fields."""
        return Recipe(steps=self.steps, batch=64, lr=0.5, head=self.head)
