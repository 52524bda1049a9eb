"""Regions in which the attack's inputs stay, and their steps and random starts."""

from __future__ import annotations

from functools import partial

import torch
from torch import Generator, Tensor

from harness.runtime.contracts import Budget, NotApplicable
from harness.runtime.gradients import Draw, ball, project, random_start, steepest

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
"""Mean and standard deviation of CIFAR-10's channels, in whose units the published searches ran."""


class Box:
    """The budget's ball inside [0, 1].

    Args:
        x: clean inputs ``[B, …]`` in [0, 1].
        budget: ``norm`` with ``eps``, or ``unbounded``.
        radius: unused here.
    """

    def __init__(self, x: Tensor, budget: Budget, radius: float) -> None:
        self.x, (self.norm, self.eps) = x, ball(budget, x)

    def start(self, generator: Generator, draw: Draw) -> Tensor:
        """Return a random point of the region for each input."""
        return random_start(self.x, self.norm, self.eps, generator, draw)

    def move(self, x_adv: Tensor, gradient: Tensor, step: float) -> Tensor:
        """Return inputs after a step of ``step`` radii along the steepest ascent."""
        return self.clip(x_adv + step * self.eps * steepest(gradient, self.norm))

    def clip(self, x_adv: Tensor) -> Tensor:
        """Return the nearest inputs of the region."""
        return project(x_adv, self.x, self.norm, self.eps)


class Image(Box):
    """The budget's ball between the smallest and the largest value of each image.

    As published, both are taken over all channels of the standardised image.
    """

    def __init__(self, x: Tensor, budget: Budget, radius: float) -> None:
        super().__init__(x, budget, radius)
        mean, std = statistics(x)
        flat = ((x - mean) / std).flatten(1)
        one_each = (-1, *[1] * (x.ndim - 1))
        self.low, self.high = (
            mean + std * end.view(one_each) for end in (flat.amin(dim=1), flat.amax(dim=1))
        )

    def clip(self, x_adv: Tensor) -> Tensor:
        return super().clip(torch.minimum(torch.maximum(x_adv, self.low), self.high))


class Standardized(Box):
    """Standardised values from 0 to 1, whatever the image is: a published accident.

    A library's search for images in [0, 1] was given standardised ones. It overwrites values below
    the channel's mean by the mean, and those above mean + deviation by that sum.

    Args:
        x: clean inputs ``[B, 3, H, W]``.
        budget: ``unbounded``.
        radius: largest change before the values are overwritten, in deviations of the channel.

    Raises:
        NotApplicable: images do not have three channels.
    """

    def __init__(self, x: Tensor, budget: Budget, radius: float) -> None:
        if x.shape[1:2] != (len(MEAN),):
            raise NotApplicable("clip: standardized needs pictures of three channels")
        self.x, (self.mean, self.std) = x, statistics(x)
        self.radius = radius * self.std

    def start(self, generator: Generator, draw: Draw) -> Tensor:
        noise = draw(self.x.shape, partial(torch.rand, generator=generator)).to(self.x) * 2 - 1
        return self.clip(self.x + self.radius * noise)

    def move(self, x_adv: Tensor, gradient: Tensor, step: float) -> Tensor:
        """Return inputs after a step of ``step`` deviations along the gradient's sign."""
        return self.clip(x_adv + step * self.std * steepest(gradient, "linf"))

    def clip(self, x_adv: Tensor) -> Tensor:
        near = torch.minimum(torch.maximum(x_adv, self.x - self.radius), self.x + self.radius)
        return torch.minimum(torch.maximum(near, self.mean), self.mean + self.std)


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each channel, ``[3, 1, 1]``; 0 and 1 without three channels.

    With one channel a range over all channels is the same in all units.
    """
    if x.ndim == 4 and x.shape[1] == len(MEAN):
        mean, std = (x.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        return mean, std
    return x.new_zeros(()), x.new_ones(())


REGIONS: dict[str, type[Box]] = {"box": Box, "image": Image, "standardized": Standardized}
"""Value of ``clip`` → its region."""
