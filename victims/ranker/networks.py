"""Backbones, which compute an item's features; a head turns them into scores or an embedding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet50

from harness.runtime.contracts import Spec

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's channels."""

HEAD_STD = 0.01
"""Standard deviation of a new head's weights."""


class Network(nn.Module):
    """Network to outputs ``[B, D]``: a score for each attribute, or the item's embedding."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.body(x))
        return outputs


class Centred(nn.Module):
    """Normalisation from [0, 1] to [−2, 2]."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5) / 0.25


class Photograph(nn.Module):
    """Preprocessing for networks trained on ImageNet: RGB, a square, normalised channels."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        for name, values in zip(("mean", "std"), IMAGENET, strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        if x.shape[2:] != (self.side, self.side):
            size = (self.side, self.side)
            x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        return (x - self.mean) / self.std


class Table(nn.Module):
    """Embedding of every item number; items share nothing."""

    def __init__(self, items: int, outputs: int) -> None:
        super().__init__()
        self.places = nn.Embedding(items, outputs)

    def forward(self, x: Tensor) -> Tensor:
        places: Tensor = self.places(x.flatten())
        return places


def small(spec: Spec, width: int, side: int) -> Network:
    """Build three convolutions for images, or three dense layers as wide for features."""
    images = len(spec.shape) == 3
    layer = convolution if images else dense
    stages = nn.Sequential(
        layer(spec.shape[0], width, stride=1),
        layer(width, 2 * width, stride=2),
        layer(2 * width, 4 * width, stride=2),
    )
    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten()) if images else ()
    return Network(nn.Sequential(Centred(), stages, *pool), nn.Linear(4 * width, spec.outputs))


def convolution(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    """Build a stage for images; a stride of 2 halves the side."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def dense(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    """Build a stage for features, which have no side to halve."""
    return nn.Sequential(nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU())


def linear(spec: Spec, width: int, side: int) -> Network:
    """Build one layer on features or pixels, without batch norm: its ridge solution is exact."""
    return Network(nn.Sequential(Centred(), nn.Flatten()), new_head(prod(spec.shape), spec.outputs))


def resnet(spec: Spec, width: int, side: int) -> Network:
    """Build torchvision's ResNet-50 with a new head."""
    body = resnet50(weights=None)
    head = new_head(body.fc.in_features, spec.outputs)
    body.fc = nn.Identity()
    return Network(nn.Sequential(Photograph(side), body), head)


def new_head(inputs: int, outputs: int) -> nn.Linear:
    """Build a head with weights from N(0, 0.01²) and bias 0."""
    head = nn.Linear(inputs, outputs)
    nn.init.normal_(head.weight, std=HEAD_STD)
    nn.init.zeros_(head.bias)
    return head


def free(spec: Spec, width: int, side: int) -> Network:
    """Build a table of embeddings, drawn from N(0, 1) by torch."""
    assert spec.items is not None
    return Network(nn.Identity(), Table(spec.items, spec.outputs))


@dataclass(frozen=True)
class Backbone:
    """Builder of a backbone.

    Attributes:
        build: function of spec, width and side of pictures to the network.
        stages: paths of the network's feature maps.
    """

    build: Callable[[Spec, int, int], Network]
    stages: tuple[str, ...]


BACKBONES = {
    "cnn": Backbone(small, ("body.1.0", "body.1.1", "body.1.2")),
    "linear": Backbone(linear, ()),
    "resnet-50": Backbone(resnet, tuple(f"body.1.layer{k}" for k in (1, 2, 3, 4))),
    "free": Backbone(free, ()),
}
"""THE table of backbones, by the values of the parameter ``backbone``."""
