"""Small networks of convolutions, linear layers and ReLU, of which verifiers have bounds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Spec

STATISTICS = {
    "none": ((0.0,) * 3, (1.0,) * 3),
    "wrn": (
        (125.3 / 255, 123.0 / 255, 113.9 / 255),
        (63.0 / 255, 62.1 / 255, 66.7 / 255),
    ),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
}
"""Mean and deviation of each channel, which inputs are normalised by."""


class Network(nn.Sequential):
    """Network from images in [0, 1] ``[B, C, H, W]`` to logits ``[B, K]``; it normalises inside.

    Args:
        layers: name → layer; names are those of the released files.
        channels: C, 1 or 3.
        statistics: a row of ``STATISTICS``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layers: Mapping[str, nn.Module], channels: int, statistics: str) -> None:
        super().__init__(OrderedDict(layers))
        for name, values in zip(("mean", "std"), STATISTICS[statistics], strict=True):
            self.register_buffer(
                name, torch.tensor(values[:channels]).view(-1, 1, 1), persistent=False
            )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward((x - self.mean) / self.std)
        return logits


class Block(nn.Module):
    """Residual block without batch norm, which the released networks have folded.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: of the first convolution; a 1x1 convolution follows it beside the others.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = nn.Sequential(
            *([nn.Conv2d(inputs, outputs, 1, stride)] if stride > 1 else [])
        )

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv2(self.conv1(x).relu()) + self.shortcut(x)).relu()


def two_convolutions(spec: Spec, widths: tuple[int, int, int], kernel: int) -> list[nn.Module]:
    """Build two convolutions of stride 2 and two linear layers."""
    first, second, hidden = widths
    padding = (kernel - 1) // 2
    maps = second * (spec.shape[1] // 4) * (spec.shape[2] // 4)
    return [
        nn.Conv2d(spec.shape[0], first, kernel, 2, padding),
        nn.ReLU(),
        nn.Conv2d(first, second, kernel, 2, padding),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(maps, hidden),
        nn.ReLU(),
        nn.Linear(hidden, spec.outputs),
    ]


def numbered(layers: list[nn.Module]) -> dict[str, nn.Module]:
    """Name layers by their places, as ``nn.Sequential`` does."""
    return {str(place): layer for place, layer in enumerate(layers)}


def cnn_a(spec: Spec) -> dict[str, nn.Module]:
    """Build the network of Wong and Kolter (2018), which verifiers call CNN-A."""
    return numbered(two_convolutions(spec, (16, 32, 100), 4))


def tiny(spec: Spec) -> dict[str, nn.Module]:
    """Build the smallest network of the BaB-attack's authors (Zhang et al. 2022)."""
    return numbered(two_convolutions(spec, (4, 8, 128), 5))


def mlp(spec: Spec) -> dict[str, nn.Module]:
    """Build one hidden layer of 500 (Raghunathan, Steinhardt and Liang 2018)."""
    inputs = spec.shape[0] * spec.shape[1] * spec.shape[2]
    return numbered([nn.Flatten(), nn.Linear(inputs, 500), nn.ReLU(), nn.Linear(500, spec.outputs)])


def residual(spec: Spec, width: int, stages: int) -> dict[str, nn.Module]:
    """Build the residual networks of VNN-COMP 2021; a stage halves the side in its first block."""
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(spec.shape[0], width, 3, 2, 1),
        "relu1": nn.ReLU(),
    }
    for number in range(stages):
        inputs = width if number == 0 else 2 * width
        layers[f"layer{number + 1}"] = nn.Sequential(
            Block(inputs, 2 * width, 2), Block(2 * width, 2 * width, 1)
        )
    side = spec.shape[1] // 2 ** (stages + 1)
    return {
        **layers,
        "flatten": nn.Flatten(),
        "linear1": nn.Linear(2 * width * side * side, 100),
        "relu2": nn.ReLU(),
        "linear2": nn.Linear(100, spec.outputs),
    }


class Architecture(NamedTuple):
    """Row of the table of networks.

    Attributes:
        layers: function of a data set that returns its layers.
        head: name of the last layer.
        stages: names of the layers with feature maps.
    """

    layers: Callable[[Spec], dict[str, nn.Module]]
    head: str
    stages: tuple[str, ...]


ARCHITECTURES = {
    "cnn-a": Architecture(cnn_a, "7", ("1", "3")),
    "tiny": Architecture(tiny, "7", ("1", "3")),
    "resnet-2b": Architecture(lambda spec: residual(spec, 8, 1), "linear2", ("layer1",)),
    "resnet-4b": Architecture(lambda spec: residual(spec, 16, 2), "linear2", ("layer1", "layer2")),
    "mlp": Architecture(mlp, "3", ()),
}
"""Value of the parameter ``network`` → its row."""
