"""Starts and steps of the search: in the budget's ball, as published, or without a bound."""

from __future__ import annotations

from functools import partial

import torch
from torch import Generator, Tensor

from harness.runtime.contracts import Budget, NotApplicable
from harness.runtime.gradients import Draw, ball, project, random_start, steepest

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's channels, for pixels in [0, 1]."""

RADIUS, BOUND = 0.1, 2.2
"""Radius and largest magnitude of the published search, in normalised pixels."""

GREY, BYTE = 0.5, 255
"""Constant start of the search without a bound, and the units of its steps' lengths."""


class Ball:
    """Steepest ascent in the budget's ball from a random start; the projection comes last.

    Args:
        x: clean inputs ``[B, …]``.
        budget: ``norm`` with ``eps``, or ``unbounded``.
        step: length of a step, as a share of the radius.
    """

    by_row = False
    """Whether row ``k`` of a batch raises the ``k``-th next feature."""

    def __init__(self, x: Tensor, budget: Budget, step: float) -> None:
        self.x, self.step, (self.norm, self.eps) = x, step, ball(budget, x)

    def start(self, generator: Generator, draw: Draw) -> Tensor:
        return random_start(self.x, self.norm, self.eps, generator, draw)

    def move(self, x_adv: Tensor, gradient: Tensor) -> Tensor:
        x_adv = x_adv + self.step * self.eps * steepest(gradient, self.norm)
        return project(x_adv, self.x, self.norm, self.eps)


class Normalized(Ball):
    """Published search in normalised pixels, projected onto the budget's ball.

    The clip to ±``BOUND`` follows the clip to the radius, as published, so that bright pixels fall
    further than the radius, as far as the budget allows.
    """

    def __init__(self, x: Tensor, budget: Budget, step: float) -> None:
        super().__init__(x, budget, step)
        if x.ndim != 4 or x.shape[1] != len(MEAN):
            raise NotApplicable("ImageNet's normalisation needs pictures of three channels")
        mean, deviation = (x.new_tensor(v).view(3, 1, 1) for v in (MEAN, DEVIATION))
        self.radius, self.high = RADIUS * deviation, mean + BOUND * deviation

    def start(self, generator: Generator, draw: Draw) -> Tensor:
        noise = draw(self.x.shape, partial(torch.rand, generator=generator)).to(self.x) * 2 - 1
        return self.clip(self.x + self.radius * noise)

    def move(self, x_adv: Tensor, gradient: Tensor) -> Tensor:
        return self.clip(x_adv + self.step * self.radius * steepest(gradient, "linf"))

    def clip(self, x_adv: Tensor) -> Tensor:
        """Return inputs within the radius, then under the bound, then within the budget."""
        near = torch.minimum(torch.maximum(x_adv, self.x - self.radius), self.x + self.radius)
        return project(torch.minimum(near, self.high), self.x, self.norm, self.eps)


class Anywhere(Ball):
    """Gradient ascent from a grey input, for one feature after another (Rezaei and Liu 2020).

    Steps are as long as the gradient says, in pixels from 0 to 255, and end in [0, 1].
    """

    by_row = True

    def start(self, generator: Generator, draw: Draw) -> Tensor:
        return torch.full_like(self.x, GREY)

    def move(self, x_adv: Tensor, gradient: Tensor) -> Tensor:
        return (x_adv + self.step / BYTE**2 * gradient.nan_to_num(0)).clamp(0, 1)


SEARCHES: dict[str, type[Ball]] = {
    "ball": Ball,
    "normalized": Normalized,
    "anywhere": Anywhere,
}
"""Search → its class."""
