"""Iterative attacks for transfer: momentum, look-ahead, variance tuning, averages over copies."""

from __future__ import annotations

from functools import partial

import torch
from safetensors.torch import save_file
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Data, Model
from harness.runtime.gradients import Ball, Radius, ball, like_rows, project, steepest
from harness.runtime.problem import Problem

from .copies import Copies
from .mixing import FILE, Pool


class Transfer:
    """Takes all steps up the loss of a surrogate: past its decision boundary, too.

    Args:
        steps: gradient steps.
        rel_stepsize: length of a step, as a share of the radius.
        mu: decay factor of the momentum (MI-FGSM).
        nesterov: whether to take the gradient where the momentum leads (NI-FGSM).
        samples: number of neighbours for variance tuning (VMI-FGSM, VNI-FGSM); 0: none.
        beta: how far neighbours lie, in radii.
        diversity: whether to resize and pad inputs at random (DI²-FGSM).
        diversity_prob: probability of that.
        resize_rate: the other end of the range of sides, in sides of the input.
        kernel_size: side in pixels of the kernel that smooths gradients (TI-FGSM); 1: none.
        sigma: its standard deviation, as a share of ``(kernel_size − 1) / 2``.
        scale_copies: number of copies ``x / 2^i`` (SI-NI-FGSM; of Admix its m1).
        admix: whether to add pictures of other classes (Admix).
        admix_images: number of added pictures in a step (its m2).
        eta: strength of an added picture.
        pool: number of training pictures to draw added ones from, at most.
    """

    def __init__(
        self,
        *,
        steps: int,
        rel_stepsize: float,
        mu: float,
        nesterov: bool,
        samples: int,
        beta: float,
        diversity: bool,
        diversity_prob: float,
        resize_rate: float,
        kernel_size: int,
        sigma: float,
        scale_copies: int,
        admix: bool,
        admix_images: int,
        eta: float,
        pool: int,
    ) -> None:
        self.steps, self.rel_stepsize = steps, rel_stepsize
        self.mu, self.nesterov = mu, nesterov
        self.samples, self.beta = samples, beta
        self.diversity_prob, self.resize_rate = diversity_prob if diversity else 0.0, resize_rate
        self.kernel_size, self.sigma, self.scale_copies = kernel_size, sigma, scale_copies
        self.admix, self.admix_images, self.eta, self.pool = admix, admix_images, eta, pool

    def learn(self, model: Model, train: Data, val: Data, budget: Budget, ctx: Context) -> None:
        """Keep some training pictures to add to inputs."""
        if self.admix:
            drawn = torch.randperm(len(train), generator=ctx.generator("pool"))[: self.pool]
            save_file(Pool.of(train, drawn).tensors(), ctx.state / FILE)

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        region = ball(budget, x)
        copies, spread = self.copies(Problem(model, y, goal), ctx), coordinate_radius(region, x)
        uniform = partial(torch.rand, generator=ctx.generator("neighbours"))
        x_adv, momentum, variance = x.clone(), torch.zeros_like(x), torch.zeros_like(x)
        for step in range(self.steps):
            ahead = self.rel_stepsize * spread * self.mu * momentum if self.nesterov else 0
            gradient = copies.gradient(x_adv + ahead)
            momentum = self.mu * momentum + mean_magnitude_1(gradient + variance)
            if self.samples and step + 1 < self.steps:
                total = torch.zeros_like(x)
                for _ in range(self.samples):
                    away = (2 * ctx.draw(x.shape, uniform) - 1).to(x.device)
                    total += copies.gradient(x_adv + self.beta * spread * away)
                variance = total / self.samples - gradient
            stride = self.rel_stepsize * region.eps * steepest(momentum, region.norm)
            x_adv = project(x_adv + stride, x, *region)
        return x_adv

    def copies(self, problem: Problem, ctx: Context) -> Copies:
        """Return the copies over whose gradients the mean is taken."""
        pool = Pool.load(ctx.state / FILE, problem.y.device) if self.admix else None
        return Copies(
            problem,
            ctx,
            scales=self.scale_copies,
            pool=pool,
            images=self.admix_images,
            eta=self.eta,
            probability=self.diversity_prob,
            resize_rate=self.resize_rate,
            kernel_size=self.kernel_size,
            sigma=self.sigma,
        )


def coordinate_radius(region: Ball, x: Tensor) -> Radius:
    """Return how far each number of an input may change if all change alike.

    Look-ahead and neighbours are defined for L∞ (Lin et al. 2020; Wang and He 2021). In L2 this
    radius stands in for ε.

    >>> coordinate_radius(Ball("l2", 1.0), torch.zeros(2, 1, 4, 4))
    0.25
    """
    norm, eps = region
    return eps if norm == "linf" else eps / x[0].numel() ** 0.5


def mean_magnitude_1(gradient: Tensor) -> Tensor:
    """Return each row divided by its mean magnitude; NaN counts as zero, a row of zeros stays.

    >>> mean_magnitude_1(torch.tensor([[1e-40, -3e-40], [0.0, 0.0]]))
    tensor([[ 0.5000, -1.5000],
            [ 0.0000,  0.0000]])
    """
    exact = gradient.nan_to_num(0).double()  # in float32 the mean of the smallest numbers is zero
    size = exact.abs().flatten(1).mean(dim=1)
    return (exact / like_rows(torch.where(size > 0, size, 1), exact)).to(gradient.dtype)
