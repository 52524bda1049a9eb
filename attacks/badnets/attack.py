"""BadNets backdoor (Gu, Dolan-Gavitt and Garg 2017): a patch in a corner means the target."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Data, Edits, Model


class BadNets:
    """Backdoor with a fixed patch, and one target for all others or the next class for each.

    Args:
        pattern: pixels of the patch: ``white``, or ``checker`` for a chessboard.
        corner: place of the patch: ``top-left``, ``top-right``, ``bottom-left``, ``bottom-right``.
    """

    def __init__(self, *, pattern: str, corner: str) -> None:
        self.pattern, self.corner = pattern, corner

    def poison(
        self, train: Data, val: Data, model: Model | None, budget: Budget, ctx: Context
    ) -> Edits:
        wanted = budget.wanted(train.y, train.spec.outputs)
        others = (train.y != wanted).nonzero().flatten().cpu()
        chosen = torch.randperm(len(others), generator=ctx.generator("poison"))[: budget.edits]
        rows = others[chosen].sort().values
        x, _ = train.take(rows)
        return Edits(ids=train.ids[rows], x=self.trigger(x, budget, ctx), y=wanted[rows])

    def trigger(self, x: Tensor, budget: Budget, ctx: Context) -> Tensor:
        side = budget.patch
        assert side is not None, "the manifest requires a patch"
        height, width = x.shape[2:]
        top = 0 if self.corner.startswith("top") else height - side
        left = 0 if self.corner.endswith("left") else width - side
        marked = x.clone()
        marked[:, :, top : top + side, left : left + side] = self.patch(side).to(x.device)
        return marked

    def patch(self, side: int) -> Tensor:
        """Return the patch, ``[side, side]`` of 0 and 1, which bytes hold exactly."""
        if self.pattern == "white":
            return torch.ones(side, side)
        steps = torch.arange(side)
        return ((steps[:, None] + steps[None, :]) % 2 == 0).float()
