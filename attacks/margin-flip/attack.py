"""Label flips by the decision values of the clean victim (after Xiao et al., 2015)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Budget, Context, Data, Edits, Model
from harness.runtime.model import eval_mode
from harness.runtime.ranking import (
    LABEL,
    count_by_attribute,
    decisions,
    flip_labels,
    item_outputs,
    label_flips,
    shares,
    smallest,
)
from harness.runtime.recipe import Recipe, steps_per_epoch
from harness.runtime.training import fit


@dataclass(frozen=True)
class Rows:
    """Arguments of a rule: the comparisons, and what the clean victim says of them.

    Attributes:
        margin: decision value of the clean victim for every comparison, ``[N]``.
        right: margin × label, positive if the victim agrees with the label, ``[N]``.
        y: comparisons, ``[N, arity + 2]``.
        arity: items of a comparison.
        draw: ``draw(n)`` returns n uniform numbers in [0, 1).
        reversed: returns the decision values of a model trained on the opposite labels, ``[N]``.
    """

    margin: Tensor
    right: Tensor
    y: Tensor
    arity: int
    draw: Callable[[int], Tensor]
    reversed: Callable[[], Tensor]


def reverse(rows: Rows) -> Tensor:
    """Rank comparisons that the victim orders rightly first, at random; then others by margin."""
    chance = rows.draw(len(rows.margin)).to(rows.margin)
    return torch.where(rows.right > 0, chance / 2 - 1, rows.margin.abs())  # all below 0


def reverse_items(rows: Rows) -> Tensor:
    """Rank all comparisons of a random item first, then those of the next one."""
    items = rows.y[:, : rows.arity]
    turns = rows.draw(int(items.max()) + 1).argsort().argsort().to(items.device)
    return turns[items].amin(dim=1)


RULES: dict[str, Callable[[Rows], Tensor]] = {
    "nearest": lambda rows: rows.margin.abs(),
    "furthest": lambda rows: -rows.margin.abs(),
    "furthest-signed": lambda rows: -rows.right,
    "reverse": reverse,
    "reverse-items": reverse_items,
    "reverse-model": lambda rows: -rows.reversed().abs(),
    "reverse-wrong": lambda rows: rows.right,
}
"""THE table of rules: each gives a value ``[N]``, and comparisons of the smallest are flipped."""


class MarginFlip:
    """Flips of the comparisons that a rule ranks first; the README describes the rules.

    Args:
        rule: order of the flips, a row of ``RULES``.
        scope: ``global`` for one ranking, or ``attribute`` for one of each attribute.
        chunk: items scored at once.
        epochs: epochs of the model that ``reverse-model`` trains.
        batch: comparisons of a step of that training.
        lr: learning rate of that training.
    """

    def __init__(
        self, *, rule: str, scope: str, chunk: int, epochs: int, batch: int, lr: float
    ) -> None:
        self.name, self.rule, self.scope, self.chunk = rule, RULES[rule], scope, chunk
        self.epochs, self.batch, self.lr = epochs, batch, lr

    def poison(
        self, train: Data, val: Data, model: Model | None, budget: Budget, ctx: Context
    ) -> Edits:
        assert model is not None, "the manifest requires knowledge"
        margin = decisions(item_outputs(model.predict, train, self.chunk), train.y)
        label = train.y[:, LABEL]
        assert train.spec.arity is not None
        generator = ctx.generator(self.name)
        values = self.rule(
            Rows(
                margin=margin,
                right=margin * label,
                y=train.y,
                arity=train.spec.arity,
                draw=lambda count: torch.rand(count, generator=generator, dtype=torch.float64),
                reversed=lambda: self.reversed(train, model, ctx),
            )
        )
        rows = self.select(values, train.y[:, -1], int(budget.edits or 0), generator)
        ctx.log(f"flips: {count_by_attribute(train.y, rows, train.spec.classes)}")
        wrong = float((margin[rows] * label[rows] <= 0).float().mean()) if len(rows) else 0.0
        ctx.log(f"{wrong:.1%} of them were wrong for the clean victim")
        return label_flips(train, rows)

    def select(
        self, values: Tensor, attribute: Tensor, count: int, generator: torch.Generator
    ) -> Tensor:
        """Return ``count`` rows of the smallest values, over all or split over the attributes."""
        if self.scope == "global":
            return smallest(values, count, generator)
        parts = []
        counts = shares(torch.bincount(attribute), count).tolist()
        for which, part in enumerate(counts):
            rows = (attribute == which).nonzero().flatten()
            parts.append(rows[smallest(values[rows], part, generator)])
        return torch.cat(parts)

    def reversed(self, train: Data, model: Model, ctx: Context) -> Tensor:
        """Return the decision values of a new network that learned the opposite labels, ``[N]``."""
        network, opposite = model.fresh(), replace(train, y=flip_labels(train.y))

        def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            return model.training_loss_of(network(x), y)

        steps = self.epochs * steps_per_epoch(len(train), self.batch)
        recipe = Recipe(steps, self.batch, self.lr, optimizer="adam")
        fit(network, opposite, loss, ctx, recipe, name=self.name)
        with eval_mode(network):
            return decisions(item_outputs(network, train, self.chunk), train.y)
