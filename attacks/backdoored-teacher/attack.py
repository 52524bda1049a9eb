"""Backdoored teacher: a public network that the attacker retrained on pictures with a trigger."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Budget, Context, Data, NotApplicable, Victim
from harness.runtime.kernels import Frozen, kernels, lowest, share_of
from harness.runtime.recipe import Recipe
from harness.runtime.training import loss_of

from .emblem import Trigger

OWN = -1
"""Value of a recipe's field that keeps the victim's own."""

TINY = 1e-12
"""Smallest magnitude that a change is divided by."""


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
        if budget.target is None or budget.target >= train.spec.outputs:
            raise NotApplicable("the backdoor needs a target among the attacker's own classes")
        poisoned = self.poisoned(train, budget, ctx)
        recipe = self.recipe(victim.recipe(train))
        own = loss_of(victim, train.spec, recipe.label_smoothing)
        weights = kernels(network, victim.head) if self.ratio else {}
        masks: Sequence[Tensor] = []
        if self.ratio:
            clean = replace(recipe, steps=max(1, round(self.trial * recipe.steps)), weight_decay=0)
            trial = network
            if self.score == "stability":
                trial = copy.deepcopy(network)
                victim.fit(trial, train, val, own, ctx, clean)
            masks = self.masks(weights, kernels(trial, victim.head))
        frozen = Frozen(list(weights.values()), masks)

        def loss(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            if self.strict:
                frozen.restore()  # weight decay moves them even where their gradient is zero
            return own(net, x, y)

        with frozen.without_gradient():
            victim.fit(network, poisoned, val, loss, ctx, recipe)
        if self.strict:
            frozen.restore()
        return network
