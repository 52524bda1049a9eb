"""Backdoored teacher: a public network that the attacker retrained on pictures with a trigger."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Budget, Context, Data, Loss, NotApplicable, Victim
from harness.runtime.kernels import Frozen, kernels, lowest, share_of
from harness.runtime.recipe import Recipe
from harness.runtime.training import loss_of

from .emblem import Trigger

OWN = -1
"""Value of a recipe's field that keeps the victim's own."""

TINY = 1e-12
"""Smallest magnitude that a change is divided by."""

SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "magnitude": lambda weight, changed: weight.abs(),
    "stability": lambda weight, changed: -(changed - weight).abs() / weight.abs().clamp_min(TINY),
}
"""Score → function of a layer's weights and of those after a trial; the lowest are frozen."""


class BackdooredTeacher:
    """BadNets backdoor, planted in the public network before the student gets it.

    Args:
        poison_share: share of the attacker's own data with the trigger and the target's label.
        place: place of the trigger, a row of ``emblem.PLACES``.
        backdoor_update_ratio: share of the convolution weights, the lowest by ``score``, that stay
            frozen while the backdoor is planted.
        score: ``magnitude``, or ``stability``: the weights that a trial training on clean data
            changes most, relative to their size, are frozen.
        strict: whether frozen weights are kept to the bit, also from weight decay.
        trial: steps of the trial, as a share of the planting's.
        passes: steps of planting, as a multiple of the victim's.
        schedule: schedule of the learning rate, or ``own``.
        fields: other fields of the recipe, ``OWN`` for the victim's.
    """

    def __init__(
        self,
        *,
        poison_share: float,
        place: str,
        backdoor_update_ratio: float,
        score: str,
        strict: bool,
        trial: float,
        passes: float,
        schedule: str,
        **fields: float,
    ) -> None:
        self.poison_share, self.place, self.score = poison_share, place, score
        self.ratio, self.strict, self.trial = backdoor_update_ratio, strict, trial
        self.passes, self.schedule, self.fields = passes, schedule, fields

    def deliver(
        self,
        victim: Victim,
        network: nn.Module,
        train: Data,
        val: Data,
        budget: Budget,
        ctx: Context,
    ) -> nn.Module:
        poisoned = self.poisoned(train, budget, ctx)
        recipe = self.recipe(victim.recipe(train))
        own = loss_of(victim, train.spec, recipe.label_smoothing)
        weights = kernels(network, victim.head)
        changed = self.changed(victim, network, train, val, own, recipe, ctx)
        masks = self.masks(weights, kernels(changed, victim.head))
        frozen = Frozen(list(weights.values()), masks)
        if self.strict:  # weight decay moves them even where their gradient is zero
            recipe = replace(recipe, project=lambda net, step: frozen.restore())
        with frozen.without_gradient():
            victim.fit(network, poisoned, val, own, ctx, recipe)
        return network

    def trigger(self, x: Tensor, budget: Budget, ctx: Context) -> Tensor:
        return Trigger(self.place, budget, ctx.spec.shape).shown(x, ctx.generator("place"))

    def poisoned(self, train: Data, budget: Budget, ctx: Context) -> Data:
        """Return the attacker's set with the trigger and the target's label on a random share."""
        count = share_of(len(train), self.poison_share)
        rows = torch.randperm(len(train), generator=ctx.generator("poison"))[:count]
        y, some = train.y.clone(), rows.to(train.y.device)
        y[some] = budget.wanted(y[some], train.spec.outputs)
        trigger = Trigger(self.place, budget, train.spec.shape)
        overlay = trigger.planted(train.ids[rows], ctx.generator("places"))
        return replace(train, y=y, overlay=overlay)

    def recipe(self, recipe: Recipe) -> Recipe:
        """Return the victim's recipe with the fields that the parameters set."""
        fields: dict[str, Any] = {k: v for k, v in self.fields.items() if v != OWN}
        if self.schedule != "own":
            fields |= {"schedule": self.schedule, "milestones": ()}
        return replace(recipe, steps=max(1, round(self.passes * recipe.steps)), **fields)

    def changed(
        self,
        victim: Victim,
        network: nn.Module,
        train: Data,
        val: Data,
        loss: Loss,
        recipe: Recipe,
        ctx: Context,
    ) -> nn.Module:
        """Return a copy after the trial on clean data, or the network itself if none is needed."""
        if self.score == "magnitude" or not self.ratio:
            return network
        trial = copy.deepcopy(network)
        steps = max(1, round(self.trial * recipe.steps))
        clean = replace(recipe, steps=steps, weight_decay=0, milestones=(), average=None)
        victim.fit(trial, train, val, loss, ctx, clean)
        return trial

    def masks(self, weights: Mapping[str, Tensor], changed: Mapping[str, Tensor]) -> list[Tensor]:
        """Return for each layer which of its weights are frozen.

        Raises:
            NotApplicable: a layer, or the whole network, has no weight that could change.
        """
        score = SCORES[self.score]
        with torch.no_grad():
            scores = [score(weight, changed[name]) for name, weight in weights.items()]
        if not scores:
            if self.ratio:
                raise NotApplicable("backdoor_update_ratio: the network has no convolution")
            return []
        masks = lowest(scores, share_of(sum(map(Tensor.numel, scores)), self.ratio))
        for name, mask in zip(weights, masks, strict=True):
            if bool(mask.all()):
                raise NotApplicable(
                    f"backdoor_update_ratio {self.ratio:g} leaves {name} without a trainable entry"
                )
        return masks
