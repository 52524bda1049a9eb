"""Weight reset: erase the convolution weights that a score ranks lowest, then fine-tune."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container
from dataclasses import replace

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Adversary, Context, Data, NotApplicable, Victim
from harness.runtime.model import spatial_dropout
from harness.runtime.pruning import Unit, erase, find_units, mark_lowest
from harness.runtime.recipe import Recipe
from harness.runtime.training import loss_of

from .scores import SCORES, Case, after_trial, score_weights, sizes


class WeightReset:
    """Erasure of convolution weights before fine-tuning, as in ``mag`` and ``divmag``.

    Args:
        score: row of ``scores.SCORES`` by which the weights are ranked.
        share: share of the weights that is erased.
        spared: share with still lower scores that is not.
        descending: whether the highest scores go first.
        scope: weights that are ranked together: ``network``, each ``layer``, or those of the
            ``last`` convolution, which is then the only one that is pruned.
        passes: steps, as a multiple of the victim's.
        trial: length of the trial training, as a share of these steps.
        restore: whether the weights go back to those before the trial.
        sparse: whether erased weights stay at zero.
        interval: steps between two rounds of erasure; 0 is one round, before training.
        growth: share that each further round adds.
        total: largest share of a round.
        dropout: probability with which a channel of a stage is dropped in training.
    """

    def __init__(
        self,
        *,
        score: str,
        share: float,
        spared: float,
        descending: bool,
        scope: str,
        passes: float,
        trial: float,
        restore: bool,
        sparse: bool,
        interval: int,
        growth: float,
        total: float,
        dropout: float,
    ) -> None:
        if spared + max(share, total if interval and growth else 0) >= 1:
            raise ValueError("spared and share, or total, together: expected less than 1")
        self.score, self.share, self.spared, self.descending = score, share, spared, descending
        self.scope, self.trial, self.restore, self.sparse = scope, trial, restore, sparse
        self.passes = passes
        self.interval, self.growth, self.total, self.dropout = interval, growth, total, dropout

    def fit(
        self,
        victim: Victim,
        network: nn.Module,
        train: Data,
        val: Data,
        adversary: Adversary | None,
        ctx: Context,
    ) -> None:
        recipe = victim.recipe(train)
        recipe = replace(recipe, steps=max(1, round(self.passes * recipe.steps)))
        loss = loss_of(victim, train.spec, recipe.label_smoothing)
        units = find_units(network, victim.head)
        if self.scope == "last":
            units = dict(list(units.items())[-1:])
        tried = copy.deepcopy(network)
        if SCORES[self.score].evidence is after_trial:
            victim.fit(tried, train, val, loss, ctx, self.trial_recipe(recipe))
        case = Case(network, units, tried, train, loss, recipe.batch, ctx)
        scores = score_weights(self.score, case)
        if not self.restore:
            network.load_state_dict(tried.state_dict())
        self.erase(units, scores, self.share, ctx)

        def again(step: int) -> None:
            """Erase in a further round; only the size of weights is read again."""
            now = (
                score_weights(self.score, case) if SCORES[self.score].evidence is sizes else scores
            )
            share = min(self.share + step // self.interval * self.growth, self.total)
            self.erase(units, now, share, ctx)

        rounds = range(self.interval, recipe.steps, self.interval) if self.interval else ()
        if self.sparse or rounds:
            recipe = replace(recipe, project=Rounds(units, again, rounds, self.sparse))
        with spatial_dropout(network, tuple(victim.stages), self.dropout):
            victim.fit(network, train, val, loss, ctx, recipe)

    def trial_recipe(self, recipe: Recipe) -> Recipe:
        """Return the recipe of the trial: one constant rate, momentum 0.9, no weight decay."""
        steps = round(self.trial * recipe.steps)
        if steps < 1:
            raise NotApplicable(
                f"a trial of {self.trial} of {recipe.steps} steps has no step, so no weight moves"
            )
        return replace(
            recipe,
            steps=steps,
            momentum=0.9,
            weight_decay=0.0,
            head_lr=1.0,
            schedule="constant",
            milestones=(),
            selection=None,
            average=None,
        )

    def erase(
        self, units: dict[str, Unit], scores: list[Tensor], share: float, ctx: Context
    ) -> None:
        """Erase a share of the weights by their scores, within the scope."""
        ranked = [-found for found in scores] if self.descending else scores
        groups = [[one] for one in ranked] if self.scope == "layer" else [ranked]
        masks = [mask for group in groups for mask in mark_lowest(group, share, self.spared)]
        erase(units, masks, ctx.log)


class Rounds:
    """Further rounds of erasure during training, and zeros that stay.

    Which weights are zero is read from the network, so that a resumed run knows it, too.

    Args:
        units: convolutions that are pruned.
        again: function that erases at a step.
        steps: steps at which it does.
        sparse: whether zeros stay.
    """

    def __init__(
        self,
        units: dict[str, Unit],
        again: Callable[[int], None],
        steps: Container[int],
        sparse: bool,
    ) -> None:
        self.weights = [unit.conv.weight for unit in units.values()]
        self.again, self.steps, self.sparse = again, steps, sparse
        self.first, self.zeros = True, list[Tensor]()

    @torch.no_grad()
    def __call__(self, network: nn.Module, step: int) -> None:
        for weight, zero in zip(self.weights, self.zeros, strict=False):
            weight[zero] = 0
        if step in self.steps and not self.first:  # a checkpoint was written after its round
            self.again(step)
        self.first = False
        if self.sparse:
            self.zeros = [weight == 0 for weight in self.weights]
