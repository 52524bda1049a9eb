"""Label flips chosen by how far the clean victim decides each comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Budget, Context, Data, Edits, Model, NotApplicable
from harness.runtime.model import evaluating
from harness.runtime.ranking import (
    LABEL,
    by_attribute,
    decisions,
    item_outputs,
    shares,
    smallest,
    turn,
    turned,
)
from harness.runtime.training import fit, steps_per_epoch


@dataclass(frozen=True)
class Rows:
    """What a rule looks at.

    Attributes:
        margin: the clean decision value of every comparison, ``[N]``.
        right: margin × label: positive where the victim orders the two as the label says.
        y: the comparisons. arity: items of each. draw: uniform numbers in [0, 1) for so many.
        reversed: decision values of a model that learned the opposite of every label.
    """

    margin: Tensor
    right: Tensor
    y: Tensor
    arity: int
    draw: Callable[[int], Tensor]
    reversed: Callable[[], Tensor]


def reverse(rows: Rows) -> Tensor:
    """Any comparison that the victim orders rightly; then the others, the closest first."""
    chance = rows.draw(len(rows.margin)).to(rows.margin)
    return torch.where(rows.right > 0, chance / 2 - 1, rows.margin.abs())  # all below 0


def reverse_items(rows: Rows) -> Tensor:
    """Every comparison of an item drawn, then of the next one."""
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
"""Rule → a value for each comparison; the smallest are turned."""


class MarginFlip:
    """See the README for the rules.

    Args:
        rule: a row of ``RULES``. scope: ``global`` or ``attribute``. chunk: items scored at once.
        epochs, batch, lr: of the model that ``reverse-model`` trains.
    """

    def __init__(
        self, *, rule: str, scope: str, chunk: int, epochs: int, batch: int, lr: float
    ) -> None:
        self.name, self.rule, self.scope, self.chunk = rule, RULES[rule], scope, chunk
        self.epochs, self.batch, self.lr = epochs, batch, lr

    def poison(
        self, train: Data, val: Data, model: Model | None, budget: Budget, ctx: Context
    ) -> Edits:
        if not budget.labels:
            raise NotApplicable("label flipping needs a budget that allows edits of labels")
        if model is None:
            raise NotApplicable(
                "margin-flip reads the clean victim's scores: give the matrix knowledge: "
                "clean-victim or a surrogate"
            )
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
        rows = self.chosen(values, train.y[:, -1], int(budget.edits or 0), generator)
        ctx.log(f"flips: {by_attribute(train.y, rows, train.spec.classes)}")
        wrong = float((margin[rows] * label[rows] <= 0).float().mean()) if len(rows) else 0.0
        ctx.log(f"{wrong:.1%} of them were wrong for the clean victim")
        return turn(train, rows)

    def chosen(
        self, values: Tensor, attribute: Tensor, count: int, generator: torch.Generator
    ) -> Tensor:
        """Rows of the smallest values, ``count`` of them over all or split over the attributes."""
        if self.scope == "global":
            return smallest(values, count, generator)
        parts = []
        counts = shares(torch.bincount(attribute), count).tolist()
        for which, part in enumerate(counts):
            rows = (attribute == which).nonzero().flatten()
            parts.append(rows[smallest(values[rows], part, generator)])
        return torch.cat(parts)

    def reversed(self, train: Data, model: Model, ctx: Context) -> Tensor:
        """Decision values of a fresh network after training on the opposite of every label."""
        network, opposite = model.fresh(), replace(train, y=turned(train.y))

        def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            return model.training_loss_of(network(x), y)

        steps = self.epochs * steps_per_epoch(len(train), self.batch)
        fit(network, opposite, loss, ctx, steps=steps, batch=self.batch, lr=self.lr,
            optimizer="adam", name=self.name)  # fmt: skip
        with evaluating(network):
            return decisions(item_outputs(network, train, self.chunk), train.y)
