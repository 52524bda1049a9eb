"""Residual networks for photographs (He et al. 2016), as torchvision has them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.resnet import ResNet as TorchvisionResNet

from harness.runtime.contracts import Data, Spec
from harness.runtime.recipe import Recipe

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's channels."""

DEPTHS = {
    18: (BasicBlock, [2, 2, 2, 2]),
    50: (Bottleneck, [3, 4, 6, 3]),
    101: (Bottleneck, [3, 4, 23, 3]),
}
"""Depth → block, and blocks of each stage."""


class Network(TorchvisionResNet):
    """Network from images in [0, 1] ``[B, 3, H, W]`` to logits ``[B, K]``."""

    mean: Tensor
    std: Tensor

    def __init__(self, depth: int, outputs: int) -> None:
        block, blocks = DEPTHS[depth]
        super().__init__(block, blocks, num_classes=outputs)
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward((x - self.mean) / self.std)
        return logits


class ResNet:
    """Residual network, trained by SGD as transfer learning fine-tunes it.

    Args:
        depth: number of layers, a row of ``DEPTHS``.
        recipe: fields of the training recipe.
    """

    head = "fc"
    stages = ("layer1", "layer2", "layer3", "layer4")

    def __init__(self, *, depth: int, **recipe: bool | float | str) -> None:
        self.depth, self.training = depth, Recipe(head=self.head, **recipe)

    def build(self, spec: Spec) -> nn.Module:
        return Network(self.depth, spec.outputs)

    def recipe(self, train: Data) -> Recipe:
        return self.training
