"""Mean gradient over copies of an input: scaled, mixed with other pictures, resized; smoothed."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from harness.runtime.contracts import Context
from harness.runtime.gradients import gradient_of
from harness.runtime.problem import Problem

from .diversity import resize_and_pad
from .mixing import Pool
from .smoothing import smooth


class Copies:
    """Copies of inputs, and the mean gradient over them.

    Args:
        problem: loss to raise.
        ctx: draws the random numbers of rows.
        scales: number of scales 1, 1/2, 1/4, … (Lin et al. 2020, equation 7).
        pool: pictures to add, or ``None`` to add nothing.
        images: number of added pictures (Wang et al. 2021, equation 4), for each scale the same.
        eta: their strength.
        probability: that of a row to be resized and padded (Xie et al. 2019).
        resize_rate: the other end of the range of sides, in sides of the input.
        kernel_size: side of the smoothing kernel (Dong et al. 2019); 1: none.
        sigma: its standard deviation, as a share of ``(kernel_size − 1) / 2``.
    """

    def __init__(
        self,
        problem: Problem,
        ctx: Context,
        *,
        scales: int,
        pool: Pool | None,
        images: int,
        eta: float,
        probability: float,
        resize_rate: float,
        kernel_size: int,
        sigma: float,
    ) -> None:
        self.problem, self.ctx, self.scales = problem, ctx, scales
        self.pool, self.images, self.eta = pool, images if pool else 1, eta
        self.probability, self.resize_rate = probability, resize_rate
        self.kernel_size, self.sigma = kernel_size, sigma
        self._mixed = partial(torch.rand, generator=ctx.generator("mixed"))
        self._resized = partial(torch.rand, generator=ctx.generator("resized"))

    def gradient(self, x_adv: Tensor) -> Tensor:
        """Return the mean gradient over the copies, smoothed, shaped as ``x_adv``.

        Copies are cut off at 0 and 1, where the network's domain ends; the gradient is that of the
        cut copy, as if nothing had been cut.

        Args:
            x_adv: float32 ``[B, C, H, W]``, may lie outside [0, 1].
        """
        total = torch.zeros_like(x_adv)
        for _ in range(self.images):
            mixed = x_adv if self.pool is None else self._mix(self.pool, x_adv)
            for power in range(self.scales):
                scale = 2.0**-power
                total += scale * gradient_of(self._loss, (scale * mixed).clamp(0, 1))
        return smooth(total / (self.images * self.scales), self.kernel_size, self.sigma)

    def _mix(self, pool: Pool, x_adv: Tensor) -> Tensor:
        chance = self.ctx.draw((len(x_adv),), self._mixed)
        return x_adv + self.eta * pool.others(self.problem.y, chance)

    def _loss(self, x_adv: Tensor) -> Tensor:
        if self.probability > 0:
            chances = self.ctx.draw((len(x_adv), 4), self._resized)
            x_adv = resize_and_pad(x_adv, chances, self.probability, self.resize_rate)
        return self.problem.loss(x_adv)
