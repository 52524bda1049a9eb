"""Random label flipping (Biggio, Nelson and Laskov, ICML 2012): the baseline of label flips."""

from __future__ import annotations

import torch

from harness.runtime.contracts import Budget, Context, Data, Edits, Model


class LabelFlip:
    """Flips of uniformly drawn labels, as many as the budget allows; has no parameters."""

    def poison(
        self, train: Data, val: Data, model: Model | None, budget: Budget, ctx: Context
    ) -> Edits:
        generator = ctx.generator("flip")
        rows = torch.randperm(len(train), generator=generator)[: budget.edits]
        y = train.y[rows.to(train.y.device)].clone()
        if train.spec.arity is not None:
            y[:, train.spec.arity] *= -1
        else:
            others = torch.randint(1, train.spec.outputs, y.shape, generator=generator)
            y = (y + others.to(y.device)) % train.spec.outputs
        return Edits(ids=train.ids[rows], y=y)
