"""Identity control: every hook of every threat model, changing nothing."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Module

from harness.runtime.contracts import Budget, Context, Data, Edits, Model, Victim


class Noop:
    """Identity: every input, label and network stays, so its cells measure what is no attack."""

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        return x.clone()

    def poison(
        self, train: Data, val: Data, model: Model | None, budget: Budget, ctx: Context
    ) -> Edits:
        return Edits(ids=torch.empty(0, dtype=torch.int64))

    def trigger(self, x: Tensor, budget: Budget, ctx: Context) -> Tensor:
        return x.clone()

    def deliver(
        self, victim: Victim, network: Module, train: Data, val: Data, budget: Budget, ctx: Context
    ) -> Module:
        return network
