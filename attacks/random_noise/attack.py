"""Random control: every hook of every threat model, filling the budget with noise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Module

from harness.runtime.contracts import Budget, Context, Data, Edits, Model, Victim
from harness.runtime.gradients import ball, project, random_start


class RandomNoise:
    """Noise on inputs, labels or weights within the budget; reads no network.

    Args:
        jitter: standard deviation of the noise on a parameter, as a share of the parameter's own.
    """

    def __init__(self, *, jitter: float) -> None:
        self.jitter = jitter

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        generator = ctx.generator("noise")
        if budget.patch is None and budget.pixels is None:
            return random_start(x, *ball(budget, x), generator, ctx.draw)
        return noisy(x, budget, generator)

    def poison(
        self, train: Data, val: Data, model: Model | None, budget: Budget, ctx: Context
    ) -> Edits:
        generator = ctx.generator("poison")
        rows = torch.randperm(len(train), generator=generator)[: budget.edits]
        if not budget.features or train.spec.arity is not None:
            return Edits(ids=train.ids[rows], y=random_labels(train, rows, generator))
        x = train.take(rows)[0]
        if (budget.patch, budget.pixels, budget.norm) == (None, None, None):
            return Edits(ids=train.ids[rows], x=torch.rand(x.shape, generator=generator).to(x))
        return Edits(ids=train.ids[rows], x=noisy(x, budget, generator))

    def trigger(self, x: Tensor, budget: Budget, ctx: Context) -> Tensor:
        return noisy(x, budget, ctx.generator("trigger"))

    def deliver(
        self, victim: Victim, network: Module, train: Data, val: Data, budget: Budget, ctx: Context
    ) -> Module:
        generator = ctx.generator("deliver")
        with torch.no_grad():
            for parameter in network.parameters():
                noise = torch.randn(parameter.shape, generator=generator).to(parameter.device)
                parameter += self.jitter * parameter.std(unbiased=False) * noise
        return network


def random_labels(train: Data, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Draw labels uniformly, so that some stay as they are; in ranking draw the sign only."""
    y = train.y[rows.to(train.y.device)].clone()
    if train.spec.arity is not None:
        signs = torch.randint(2, (len(y),), generator=generator) * 2 - 1
        y[:, train.spec.arity] = signs.to(y)
        return y
    drawn = torch.randint(train.spec.outputs, y.shape, generator=generator).to(y)
    return drawn if train.spec.void is None else torch.where(y == train.spec.void, y, drawn)


def noisy(x: Tensor, budget: Budget, generator: torch.Generator) -> Tensor:
    """Add the same noise to every input: at a random place if one is limited, or of the ball."""
    if budget.patch is not None or budget.pixels is not None:
        return patched(x, budget, generator)
    return shifted(x, budget, generator)


def shifted(x: Tensor, budget: Budget, generator: torch.Generator) -> Tensor:
    """Add the same noise of the ball to every input."""
    norm, eps = ball(budget, x)
    grey = torch.full_like(x[:1], 0.5)
    return project(x + random_start(grey, norm, eps, generator) - grey, x, norm, eps)


def patched(x: Tensor, budget: Budget, generator: torch.Generator) -> Tensor:
    """Replace a patch at a random place by noise, or shift it within the ball if there is one.

    Without a limit on its side it is the whole picture. Of its pixels, ``budget.pixels`` change.
    """
    sides = [budget.patch or side for side in x.shape[2:]]
    top, left = (
        int(torch.randint(n - side + 1, (), generator=generator))
        for n, side in zip(x.shape[2:], sides, strict=True)
    )
    place = (..., slice(top, top + sides[0]), slice(left, left + sides[1]))
    if budget.norm is None:
        noise = torch.rand((x.shape[1], *sides), generator=generator).to(x)
    else:
        noise = shifted(x[place], budget, generator)
    if budget.pixels is not None:
        chosen = torch.randperm(sides[0] * sides[1], generator=generator) < budget.pixels
        noise = torch.where(chosen.view(*sides).to(x.device), noise, x[place])
    marked = x.clone()
    marked[place] = noise
    return marked
