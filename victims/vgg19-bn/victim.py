"""VGG19 with batch norm for small pictures, trained from nothing."""

from __future__ import annotations

from torch import nn

from harness.runtime.contracts import Data, Spec
from harness.runtime.epochs import recipe_in_epochs
from harness.runtime.recipe import Recipe

from .network import Network


class VGG19:
    """VGG19 with batch norm and one linear layer on 512 features.

    Args:
        width: channels of the first stage; the last has 8 times as many.
        training: arguments of ``recipe_in_epochs`` and fields of the recipe: length, schedule,
            batch, rates, crops.
    """

    head = "head"
    stages = ("features.0", "features.1", "features.2", "features.3", "features.4")

    def __init__(self, *, width: int, **training: bool | float | str) -> None:
        self.width, self.training = width, training

    def build(self, spec: Spec) -> nn.Module:
        return Network(spec.outputs, self.width)

    def recipe(self, train: Data) -> Recipe:
        return recipe_in_epochs(len(train), head=self.head, **self.training)
