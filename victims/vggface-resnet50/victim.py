"""ResNet-50 for faces as VGGFace2's authors trained it in Caffe (Cao et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from harness.runtime.contracts import Data, Spec
from harness.runtime.recipe import Recipe

MEANS = (91.4953, 103.8827, 131.0912)
"""Means of VGGFace2's channels, blue first, of values from 0 to 255."""


class Network(ResNet):
    """Network from images in [0, 1] ``[B, 3, H, W]`` to logits ``[B, K]``.

    It is torchvision's with another place of the strides, and with another first pooling. At 224
    pixels the last map has 7x7 places, so that its mean is the 7x7 pooling of the original.
    """

    means: Tensor

    def __init__(self, outputs: int) -> None:
        super().__init__(Bottleneck, [3, 4, 6, 3], num_classes=outputs)
        self.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        for stage in (self.layer2, self.layer3, self.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
        self.register_buffer("means", torch.tensor(MEANS).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward(255 * x.flip(1) - self.means)
        return logits


class VGGFaceResNet50:
    """ResNet-50 for faces, trained by SGD as transfer learning fine-tunes it.

    Args:
        recipe: fields of the training recipe.
    """

    head = "fc"
    stages = ("layer1", "layer2", "layer3", "layer4")

    def __init__(self, **recipe: bool | float | str) -> None:
        self.training = Recipe(head=self.head, **recipe)

    def build(self, spec: Spec) -> nn.Module:
        return Network(spec.outputs)

    def recipe(self, train: Data) -> Recipe:
        return self.training
