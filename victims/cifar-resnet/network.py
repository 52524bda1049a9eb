"""Residual networks for small pictures (He et al. 2016, section 4.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STATISTICS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
}
"""Mean and standard deviation of channels; the released networks normalise by ImageNet's."""


class Pad(nn.Module):
    """Shortcut without parameters: every second place, and channels of zeros on both sides.

    Args:
        channels: channels of zeros, half of them before the others.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before = channels // 2
        self.after = channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut; a stride of 2 halves the side."""

    def __init__(self, inputs: int, outputs: int, shortcut: str) -> None:
        super().__init__()
        wider = inputs != outputs
        stride = 2 if wider else 1
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Sequential()
        if wider and shortcut == "projection":
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))
        elif wider:
            self.shortcut = Pad(outputs - inputs)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(maps + self.shortcut(x))


class Network(nn.Module):
    """Network from images in [0, 1] ``[B, 3, H, W]`` to logits ``[B, K]``.

    Args:
        blocks: blocks of each of the three stages.
        outputs: number of classes.
        width: channels of the first stage; the others have 2 and 4 times as many.
        shortcut: ``pad`` (the paper's option A) or ``projection`` (option B), where sides halve.
        init: ``fan_in``, convolutions and head are drawn by Kaiming's rule, as in the released
            networks; or ``fan_out``, convolutions have variance 2 / (k² · outputs), and the head is
            PyTorch's.
        statistics: mean and deviation by which inputs are normalised, a row of ``STATISTICS``.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, blocks: int, outputs: int, width: int, shortcut: str, init: str, statistics: str
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = stage(blocks, width, width, shortcut)
        self.layer2 = stage(blocks, width, 2 * width, shortcut)
        self.layer3 = stage(blocks, 2 * width, 4 * width, shortcut)
        self.linear = nn.Linear(4 * width, outputs)
        drawn = nn.Conv2d | nn.Linear if init == "fan_in" else nn.Conv2d
        for layer in self.modules():
            if isinstance(layer, drawn):
                nn.init.kaiming_normal_(layer.weight, mode=init)
        for name, values in zip(("mean", "std"), STATISTICS[statistics], strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1((x - self.mean) / self.std)))
        maps = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(maps.mean(dim=(2, 3)))
        return logits


def stage(blocks: int, inputs: int, outputs: int, shortcut: str) -> nn.Sequential:
    """Build a stage, of which the first block may change the number of channels."""
    first = Block(inputs, outputs, shortcut)
    return nn.Sequential(first, *(Block(outputs, outputs, shortcut) for _ in range(blocks - 1)))
