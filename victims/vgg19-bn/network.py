"""VGG19 with batch norm and one linear layer, for small pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
"""Mean and standard deviation of CIFAR-10's channels, by which inputs are normalised."""

WIDTH = 64
"""Channels of the first stage in configuration E."""

STAGES = ((1, 2), (2, 2), (4, 4), (8, 4), (8, 4))
"""Configuration E: channels of each stage, as a multiple of the width, and its convolutions."""


class Network(nn.Module):
    """Network from images in [0, 1] ``[B, 3, H, W]``, of 32 pixels or more, to logits ``[B, K]``.

    Convolutions have variance 2 / (k² · outputs) and a bias of zero at first; the head is
    PyTorch's. The features are the mean of the last map, which has one place at 32 pixels.

    Args:
        outputs: number of classes.
        width: channels of the first stage.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, outputs: int, width: int) -> None:
        super().__init__()
        channels = 3
        self.features = nn.Sequential()
        for factor, convolutions in STAGES:
            self.features.append(stage(channels, factor * width, convolutions))
            channels = factor * width
        self.head = nn.Linear(channels, outputs)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
                nn.init.zeros_(layer.bias)
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.features((x - self.mean) / self.std)
        logits: Tensor = self.head(maps.mean(dim=(2, 3)))
        return logits


def stage(inputs: int, outputs: int, convolutions: int) -> nn.Sequential:
    """Build 3x3 convolutions with batch norm, and a pooling that halves the side."""
    layers: list[nn.Module] = []
    for _ in range(convolutions):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.MaxPool2d(2))
