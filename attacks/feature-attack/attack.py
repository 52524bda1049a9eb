"""Target-agnostic feature attack on a public model (Rezaei and Liu, ICLR 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model, NotApplicable
from harness.runtime.gradients import gradient_of

from .searches import SEARCHES


class FeatureAttack:
    """Ascent on penultimate features of the public network; reads neither student nor labels.

    Args:
        search: start and steps, a row of ``SEARCHES``.
        steps: gradient steps.
        step: length of a step, in the units of the search.
        neuron: index of the first feature to raise.
        neurons: how many features are raised, at equal distances from the first.
        level: value that they are drawn to, far above what any input gives.
        quiet: weight of the penalty on the other features.
    """

    def __init__(
        self,
        *,
        search: str,
        steps: int,
        step: float,
        neuron: int,
        neurons: int,
        level: float,
        quiet: float,
    ) -> None:
        self.search, self.steps, self.step = SEARCHES[search], steps, step
        self.neuron, self.neurons, self.level, self.quiet = neuron, neurons, level, quiet

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        search = self.search(x, budget, self.step)
        places = ctx.draw((len(x),), lambda shape: torch.arange(shape[0]))
        raised = self.raised(model.features(x[:1]).shape[1], places).to(x.device)
        x_adv = search.start(ctx.generator("start"), ctx.draw)
        for _ in range(self.steps):
            gradient = gradient_of(
                lambda x_adv: self.objective(model.features(x_adv), raised), x_adv
            )
            x_adv = search.move(x_adv, gradient)
        return x_adv

    def raised(self, count: int, places: Tensor) -> Tensor:
        """Return the features that each row raises, int64 ``[B, neurons]``.

        Args:
            count: number of features.
            places: place of each row in its batch, int64 ``[B]``.

        Raises:
            NotApplicable: the network has fewer features.
        """
        if max(self.neuron + 1, self.neurons) > count:
            raise NotApplicable(
                f"neuron {self.neuron} and {self.neurons} neurons: the network has {count} features"
            )
        apart = torch.arange(self.neurons) * (count // self.neurons)
        first = places if self.search.by_row else torch.zeros_like(places)
        return (first[:, None] + self.neuron + apart) % count

    def objective(self, features: Tensor, raised: Tensor) -> Tensor:
        """Return what rises, ``[B]``: −mean of (f − level)² − quiet · mean of the others' f²."""
        chosen = features.gather(1, raised)
        others = features.square().sum(dim=1) - chosen.square().sum(dim=1)
        others = others / max(1, features.shape[1] - self.neurons)
        return -(chosen - self.level).square().mean(dim=1) - self.quiet * others
