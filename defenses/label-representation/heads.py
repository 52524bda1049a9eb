"""Heads that draw a label from a network's features."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

WIDTHS = (64, 64, 32, 16, 8, 1)
"""Channels before and after each transposed convolution."""


def make_head(kind: str, features: int, shape: tuple[int, ...]) -> nn.Module:
    """Build the layers from features ``[B, features]`` to labels ``[B, D]``.

    Args:
        kind: ``linear``; ``deconvolution``; or ``auto``, which is the second for square labels, as
            published, and the first for vectors.
        features: number of features.
        shape: a label's shape, of D numbers in all.

    Raises:
        ValueError: the deconvolution makes no picture of that shape.
    """
    size = math.prod(shape)
    if kind == "linear" or (kind == "auto" and len(shape) == 1):
        return nn.Linear(features, size)
    if len(shape) == 1:  # a vector behind the head of pictures
        return nn.Sequential(deconvolution(features, 64), nn.Linear(64 * 64, size))
    return deconvolution(features, square_side(shape))


def square_side(shape: tuple[int, ...]) -> int:
    """Return the side of a label that the deconvolution can make.

    Raises:
        ValueError: it cannot.
    """
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] % 16 or not shape[0]:
        raise ValueError(
            f"labels of shape {'×'.join(map(str, shape))}: the deconvolution makes squares whose "
            "side is a multiple of 16; expected such labels, or head: linear"
        )
    return shape[0]


def deconvolution(features: int, side: int) -> nn.Sequential:
    """Build the published head for pictures: five transposed convolutions from one pixel.

    Args:
        features: number of features.
        side: side of the picture, a multiple of 16. The first convolution makes ``side / 16``
            pixels (kernel 4 for 64, 3 for 48), each other one doubles them.
    """
    layers: list[nn.Module] = [
        nn.BatchNorm1d(features),
        nn.LeakyReLU(0.01),
        nn.Linear(features, WIDTHS[0]),
        nn.Unflatten(1, (WIDTHS[0], 1, 1)),
        nn.ConvTranspose2d(WIDTHS[0], WIDTHS[1], side // 16),
    ]
    for inputs, outputs in pairwise(WIDTHS[1:]):
        layers += [
            nn.BatchNorm2d(inputs),
            nn.LeakyReLU(0.01),
            nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1),
        ]
    return nn.Sequential(*layers, nn.Flatten())
