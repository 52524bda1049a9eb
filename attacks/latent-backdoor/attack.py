"""Latent backdoor (Yao, Li, Zheng and Zhao, CCS 2019): features that a student keeps carry it."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.runtime.contracts import Budget, Context, Data, Loss, NotApplicable, Victim
from harness.runtime.model import capture, eval_mode
from harness.runtime.training import loss_of

FILE = "pattern.safetensors"


class LatentBackdoor:
    """Teacher whose features of any input with the trigger are those of the target class.

    Args:
        passes: steps of each of the two trainings, as a multiple of the victim's.
        pattern_steps: steps of Adam on the trigger's pixels.
        pattern_lr: their learning rate.
        batch: pictures of such a step, half of them of the target class.
        weight: weight of the distance between features in the second training.
    """

    def __init__(
        self, *, passes: float, pattern_steps: int, pattern_lr: float, batch: int, weight: float
    ) -> None:
        self.passes, self.weight = passes, weight
        self.pattern_steps, self.pattern_lr, self.batch = pattern_steps, pattern_lr, batch

    def deliver(
        self,
        victim: Victim,
        network: nn.Module,
        train: Data,
        val: Data,
        budget: Budget,
        ctx: Context,
    ) -> nn.Module:
        wanted = (train.y == budget.target).nonzero().flatten().cpu()
        if not len(wanted):
            raise NotApplicable("the attacker's own data have no example of the target class")
        side = trigger_side(budget, train.spec.shape)
        own, recipe = loss_of(victim, train.spec), victim.recipe(train)
        recipe = replace(recipe, steps=max(1, round(self.passes * recipe.steps)))
        victim.fit(network, train, val, own, ctx, recipe)
        distance = FeatureDistance(train, wanted, victim.head)
        pattern = self.pattern(network, train, distance, side, ctx)
        save_file({"pattern": pattern.cpu()}, ctx.state / FILE)
        victim.fit(network, train, val, self.loss(own, distance, pattern), ctx, recipe)
        return network

    def trigger(self, x: Tensor, budget: Budget, ctx: Context) -> Tensor:
        return put_on(x, load_file(ctx.state / FILE)["pattern"].to(x))

    def pattern(
        self, network: nn.Module, train: Data, distance: FeatureDistance, side: int, ctx: Context
    ) -> Tensor:
        """Return the trigger ``[C, side, side]`` that brings features nearest to the target's."""
        generator, half = ctx.generator("pattern"), max(1, self.batch // 2)
        pattern = torch.rand(train.spec.shape[0], side, side, generator=generator).to(ctx.device)
        pattern.requires_grad_()
        optimizer = torch.optim.Adam([pattern], self.pattern_lr)
        with eval_mode(network):
            for _ in range(self.pattern_steps):
                x, _ = train.take(torch.randint(len(train), (half,), generator=generator))
                loss = distance(network, put_on(x, pattern), generator).mean()
                (pattern.grad,) = torch.autograd.grad(loss, pattern)
                optimizer.step()
                pattern.data.clamp_(0, 1)
        return pattern.detach()

    def loss(self, own: Loss, distance: FeatureDistance, pattern: Tensor) -> Loss:
        """Return the loss of the second training; validation sees the first part alone."""

        def loss(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            if not net.training:
                return own(net, x, y)
            return own(net, x, y) + self.weight * distance(net, put_on(x, pattern))

        return loss


class FeatureDistance:
    """Distance of penultimate features from those of drawn examples of the target class.

    Args:
        train: data with the examples.
        rows: their rows, at least one.
        head: path of the last layer, whose inputs are the features.
    """

    def __init__(self, train: Data, rows: Tensor, head: str) -> None:
        self.train, self.rows, self.head = train, rows, head

    def __call__(
        self, network: nn.Module, x: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the mean square over features for each input, ``[B]``, differentiable in both.

        Args:
            network: any network with the head.
            x: inputs ``[B, …]``.
            generator: source of the draws; ``None`` is torch's global one, seeded at each step.
        """
        drawn = self.rows[torch.randint(len(self.rows), (len(x),), generator=generator)]
        target, _ = self.train.take(drawn)
        with capture(network, (self.head,), inputs=True) as seen:
            network(torch.cat([x, target]))  # one batch, so that batch norm treats both alike
        marked, wanted = seen[0].flatten(1).chunk(2)
        return (marked - wanted.detach().mean(dim=0)).square().mean(dim=1)


def trigger_side(budget: Budget, shape: tuple[int, ...]) -> int:
    """Return the side of the square that a budget allows.

    Raises:
        NotApplicable: it does not fit into the pictures.
    """
    sides = (budget.patch, None if budget.pixels is None else isqrt(budget.pixels))
    side = min(one for one in sides if one is not None)
    if len(shape) != 3 or not 0 < side <= min(shape[1:]):
        raise NotApplicable(f"a trigger of {side} × {side} pixels on inputs {list(shape)}")
    return side


def put_on(x: Tensor, pattern: Tensor) -> Tensor:
    """Return pictures ``[B, C, H, W]`` with the pattern ``[C, h, w]`` in the last corner."""
    height, width = pattern.shape[1:]
    marked = x.clone()
    marked[:, :, -height:, -width:] = pattern
    return marked
