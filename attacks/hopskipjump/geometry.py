"""What the norm decides in HopSkipJump: projections, probes, and the boundary's tolerance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from harness.runtime.gradients import like_rows

LEAST_CHANGE = 1e-6
"""Root mean square of a probe's change of a value, below which float32 rounds too much of it."""
RESOLUTION = 24
"""Halvings of a distance beyond which float32 does not tell the halves apart."""
FIRST_RADIUS = 0.1
"""Length of the first round's probes, as in the authors' code."""


@dataclass(frozen=True)
class Geometry:
    """What a norm decides.

    Attributes:
        norm: ``linf`` or ``l2``.
        power: θ is D to the power of minus this (section III-C), where D is the number of values.
        lengths: length of each row of ``[B, …]``, ``[B]``.
        between: inputs ``[B, …]`` from clean and wrong ones, ``[B, …]`` each, and the share
            ``[B]`` of the distance that remains (equation 7 and the lines after it).
        sample: draws the directions of probes, of a shape; their lengths do not matter.
    """

    norm: str
    power: float
    lengths: Callable[[Tensor], Tensor]
    between: Callable[[Tensor, Tensor, Tensor], Tensor]
    sample: Callable[..., Tensor]

    def halvings(self, size: int) -> int:
        """Return the queries of a return to the boundary: until θ of the distance remains."""
        return max(1, min(RESOLUTION, math.ceil(self.power * math.log2(size))))

    def probe_radius(self, radius: Tensor, size: int, t: int) -> Tensor:
        """Return the Euclidean length δ of a probe of each row in round t, ``[B]`` (equation 14).

        Args:
            radius: distance of the wrong input from which the last return began, ``[B]``.
            size: number D of an input's values.
            t: round, from 1.
        """
        if t == 1:
            return torch.full_like(radius, FIRST_RADIUS)
        return (radius / size).clamp_min(LEAST_CHANGE * size**0.5)


def blend(x: Tensor, wrong: Tensor, share: Tensor) -> Tensor:
    """Return points on the line from clean to wrong inputs."""
    part = like_rows(share, x)
    return ((1 - part) * x + part * wrong).clamp(0, 1)


def clip(x: Tensor, wrong: Tensor, share: Tensor) -> Tensor:
    """Return wrong inputs with each change cut to a share of the largest one."""
    reach = like_rows(share * largest(wrong - x), x)
    return torch.minimum(torch.maximum(wrong, x - reach), x + reach).clamp(0, 1)


def largest(change: Tensor) -> Tensor:
    """Return the L∞ length of each row."""
    return change.flatten(1).abs().amax(dim=1)


def euclidean(change: Tensor) -> Tensor:
    """Return the Euclidean length of each row."""
    lengths: Tensor = torch.linalg.vector_norm(change.flatten(1), dim=1)
    return lengths


def symmetric(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Draw uniformly from −1 to 1."""
    return torch.rand(shape, generator=generator) * 2 - 1


GEOMETRIES = {
    "l2": Geometry("l2", 1.5, euclidean, blend, torch.randn),
    "linf": Geometry("linf", 2.0, largest, clip, symmetric),
}
"""THE table of norms."""
