"""Training of a student from a public or delivered network: L2-SP, DELTA, Renofeation."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Adversary, Context, Data, Loss, NotApplicable, Victim
from harness.runtime.model import capture, spatial_dropout
from harness.runtime.recipe import Average, Recipe
from harness.runtime.training import loss_of

from .attention import attention
from .distillation import Teacher
from .weights import pull_to_start, reset

AS_VICTIM = (-1, "as-victim")
"""Values of a recipe's parameters that leave the victim's."""

PROBED = 32
"""Examples on which the maps of student and teacher are compared before the training."""


class TransferTraining:
    """Fine-tuning or re-training of a network that was trained elsewhere, in one or two stages.

    Args:
        reset: whether all weights are drawn anew before the training.
        distill: which maps of the network as it arrived the student learns: ``none``, those of the
            stages (``equal``), or those that DELTA's ``attention`` weighs.
        distill_weight: weight λ of that term of the loss.
        pull: weight α of L2-SP's (α/2) · ‖θ − θ_start‖².
        pull_head: whether the head is pulled to its random start, too.
        head_decay: weight β of (β/2) · ‖head‖².
        dropout: probability of a channel to be dropped after each stage.
        passes: steps, as a multiple of the victim's.
        second: steps of a second stage at a constant rate, as a multiple of the victim's.
        second_lr: learning rate of the second stage.
        average_start: share of the last stage after which averaging of weights begins.
        average_every: share of the last stage between two snapshots; 0 for no averaging.
        recipe: fields of the victim's recipe to replace, unless -1 or ``as-victim``.

    Raises:
        ValueError: the last stage ends before the first snapshot.
    """

    def __init__(
        self,
        *,
        reset: bool,
        distill: str,
        distill_weight: float,
        pull: float,
        pull_head: bool,
        head_decay: float,
        dropout: float,
        passes: float,
        second: float,
        second_lr: float,
        average_start: float,
        average_every: float,
        **recipe: object,
    ) -> None:
        if average_every and average_start + average_every > 1:
            raise ValueError(
                f"average_start {average_start:g} and average_every {average_every:g}: the "
                "training ends before the first snapshot; expected a sum of at most 1"
            )
        self.reset, self.dropout = reset, dropout
        self.distill, self.distill_weight = distill, distill_weight
        self.pull, self.pull_head, self.head_decay = pull, pull_head, head_decay
        self.passes, self.second, self.second_lr = passes, second, second_lr
        self.average_start, self.average_every = average_start, average_every
        self.changes: dict[str, Any] = {
            key: value for key, value in recipe.items() if value not in AS_VICTIM
        }

    def fit(
        self,
        victim: Victim,
        network: nn.Module,
        train: Data,
        val: Data,
        adversary: Adversary | None,
        ctx: Context,
    ) -> None:
        stages = tuple(getattr(victim, "stages", ()))
        if not stages and (self.dropout or self.distill != "none"):
            raise NotApplicable("the victim names no stages, and their maps are needed")
        recipes = self.recipes(victim.recipe(train), victim.head)
        own = loss_of(victim, train.spec, recipes[0].label_smoothing)
        teacher = self.teacher(victim, network, train, own, ctx)
        penalties = pull_to_start(
            network, victim.head, self.pull, self.head_decay, with_head=self.pull_head
        )
        if self.reset:
            reset(network, victim, train.spec, ctx)
        paths = teacher.paths if teacher is not None else ()

        def loss(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            with capture(net, paths, inputs=False) as maps:
                value = own(net, x, y)
            if teacher is not None:
                value = value + self.distill_weight * teacher.distance(maps, x)
            return value + sum(penalty() for penalty in penalties)

        with spatial_dropout(network, stages, self.dropout):
            for recipe in recipes:
                try:
                    victim.fit(network, train, val, loss, ctx, recipe)
                except ArithmeticError as error:
                    fix = "lower lr, distill_weight, pull or head_decay"
                    raise ArithmeticError(f"{error}: {fix}") from error

    def recipes(self, base: Recipe, head: str) -> list[Recipe]:
        """Return the recipe of each stage; each ends with its last iterate."""
        scaled = tuple(round(self.passes * step) for step in base.milestones)
        first = replace(
            base,
            steps=max(1, round(self.passes * base.steps)),
            milestones=() if "schedule" in self.changes else scaled,
            head=head,
            selection=None,
            average=None,
            **self.changes,
        )
        if not self.second:
            return [self.averaged(first)]
        second = replace(
            first,
            steps=max(1, round(self.second * base.steps)),
            lr=self.second_lr,
            schedule="constant",
            milestones=(),
        )
        return [first, self.averaged(second)]

    def averaged(self, recipe: Recipe) -> Recipe:
        """Return the recipe of the last stage with its average of weights."""
        if not self.average_every:
            return recipe
        every = max(1, int(self.average_every * recipe.steps))
        return replace(recipe, average=Average(int(self.average_start * recipe.steps), every))

    def teacher(
        self, victim: Victim, network: nn.Module, train: Data, own: Loss, ctx: Context
    ) -> Teacher | None:
        """Return a copy of the network as it arrived, where there is distillation."""
        if self.distill == "none":
            return None
        teacher = Teacher(copy.deepcopy(network), victim.stages)
        teacher.compare(network, train.take(torch.arange(min(PROBED, len(train))))[0])
        if self.distill == "attention":
            teacher.paths, teacher.weights = attention(victim, network, train, own, ctx)
        return teacher
