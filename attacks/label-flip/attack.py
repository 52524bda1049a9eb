"""Random label flipping (Biggio, Nelson and Laskov, ICML 2012): the baseline of label flips."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from harness.runtime.contracts import Budget, Context, Data, Edits, Model


def random_other(y: Tensor, classes: int, generator: Generator) -> Tensor:
    """Return any other class, each with equal probability."""
    return (y + torch.randint(1, classes, y.shape, generator=generator).to(y)) % classes


def next_class(y: Tensor, classes: int, generator: Generator) -> Tensor:
    """Return the next class; that of the last is 0."""
    return (y + 1) % classes


def to_zero(y: Tensor, classes: int, generator: Generator) -> Tensor:
    """Return class 0, which is no wrong label for its own examples."""
    return torch.zeros_like(y)


MODES: dict[str, Callable[[Tensor, int, Generator], Tensor]] = {
    "random_other": random_other,
    "next": next_class,
    "to_zero": to_zero,
}
"""Mode → function of labels ``[E]`` to the labels that they get."""


class LabelFlip:
    """Flips of uniformly drawn labels, as many as the budget allows.

    Args:
        mode: the label that a drawn example gets, a row of ``MODES``; in ranking the other sign.
    """

    def __init__(self, *, mode: str) -> None:
        self.new_labels = MODES[mode]

    def poison(
        self, train: Data, val: Data, model: Model | None, budget: Budget, ctx: Context
    ) -> Edits:
        generator = ctx.generator("flip")
        rows = torch.randperm(len(train), generator=generator)[: budget.edits]
        y = train.y[rows.to(train.y.device)].clone()
        if train.spec.arity is not None:
            y[:, train.spec.arity] *= -1
        else:
            y = self.new_labels(y, train.spec.outputs, generator)
        return Edits(ids=train.ids[rows], y=y)
