"""BadNets backdoor (Gu, Dolan-Gavitt and Garg, 2017): a patch in a corner means the target."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Data, Edits, Model, NotApplicable


class BadNets:
    """Backdoor with a fixed patch and one target class for all others (all-to-one).

    Args:
        pattern: ``white``, or ``checker`` for a chessboard of black and white pixels.
        corner: ``top-left``, ``top-right``, ``bottom-left`` or ``bottom-right``.
    """

    def __init__(self, *, pattern: str, corner: str) -> None:
        self.pattern, self.corner = pattern, corner

    def poison(
        self, train: Data, val: Data, model: Model | None, budget: Budget, ctx: Context
    ) -> Edits:
        if not (budget.labels and budget.features and budget.target is not None):
            raise NotApplicable("BadNets edits inputs and labels, toward a target class")
        others = (train.y != budget.target).nonzero().flatten().cpu()
        chosen = torch.randperm(len(others), generator=ctx.generator("poison"))[: budget.edits]
        rows = others[chosen].sort().values
        x, y = train.take(rows)
        return Edits(
            ids=train.ids[rows],
            x=self.trigger(x, budget, ctx),
            y=torch.full_like(y, budget.target),
        )

    def trigger(self, x: Tensor, budget: Budget, ctx: Context) -> Tensor:
        if budget.patch is None:
            raise NotApplicable("BadNets needs a budget that allows a patch")
        side = budget.patch
        height, width = x.shape[2:]
        top = 0 if self.corner.startswith("top") else height - side
        left = 0 if self.corner.endswith("left") else width - side
        marked = x.clone()
        marked[:, :, top : top + side, left : left + side] = self.patch(side).to(x.device)
        return marked

    def patch(self, side: int) -> Tensor:
        """Return pixels ``[side, side]``, 0 or 1, so that storing them as bytes loses nothing."""
        if self.pattern == "white":
            return torch.ones(side, side)
        steps = torch.arange(side)
        return ((steps[:, None] + steps[None, :]) % 2 == 0).float()
