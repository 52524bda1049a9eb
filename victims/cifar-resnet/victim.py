"""Residual networks for small pictures, with the networks released for CIFAR-10."""

from __future__ import annotations

from torch import nn

from harness.runtime.contracts import Data, Spec
from harness.runtime.epochs import recipe_in_epochs
from harness.runtime.recipe import Recipe

from .network import Network


class CifarResNet:
    """Residual network of three stages, trained as He et al. (2016) trained theirs.

    Args:
        depth: number of layers, 6n + 2.
        width: channels of the first stage; the others have 2 and 4 times as many.
        shortcut: ``pad`` (option A) or ``projection`` (option B).
        init: first weights, ``fan_in`` or ``fan_out``, see ``Network``.
        statistics: mean and deviation of inputs, ``imagenet`` or ``cifar10``.
        training: arguments of ``recipe_in_epochs`` and fields of the recipe: length, schedule,
            batch, rates, crops.
    """

    head = "linear"
    stages = ("layer1", "layer2", "layer3")

    def __init__(
        self,
        *,
        depth: int,
        width: int,
        shortcut: str,
        init: str,
        statistics: str,
        **training: bool | float | str,
    ) -> None:
        self.blocks, self.network = (depth - 2) // 6, (width, shortcut, init, statistics)
        self.training = training

    def build(self, spec: Spec) -> nn.Module:
        return Network(self.blocks, spec.outputs, *self.network)

    def recipe(self, train: Data) -> Recipe:
        return recipe_in_epochs(len(train), head=self.head, **self.training)
