"""Small-loss selection (after Co-teaching; Han et al., NeurIPS 2018)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, Keep, Loss, Victim
from harness.runtime.model import eval_mode
from harness.runtime.ranking import row_losses, smallest
from harness.runtime.training import loss_of

WATCHED = 200
"""Examples on which the training's curve is drawn; there is no validation set here."""


class SmallLoss:
    """Removal of the examples that a briefly trained victim fits worst.

    Args:
        share: share of the examples that is dropped.
        steps: gradient steps before the losses are read; 0 is the victim's whole recipe.
        batch: examples, or items, whose losses are computed at once.
    """

    def __init__(self, *, share: float, steps: int, batch: int) -> None:
        self.share, self.steps, self.batch = share, steps, batch

    def sanitize(self, victim: Victim, network: nn.Module, train: Data, ctx: Context) -> Keep:
        loss = loss_of(victim, train.spec)
        rows = torch.arange(min(WATCHED, len(train)))
        raw = train.raw if train.spec.arity else train.raw[rows]
        watched = replace(train, raw=raw, y=train.y[rows], ids=train.ids[rows])
        recipe = victim.recipe(train)
        if self.steps:
            recipe = replace(recipe, steps=self.steps)
        victim.fit(network, train, watched, loss, ctx, recipe)
        losses = self.losses(network, loss, train)
        kept = len(train) - round(self.share * len(train))
        chosen = smallest(losses, max(1, kept), ctx.generator("ties"))
        mask = torch.zeros(len(train), dtype=torch.bool, device=losses.device)
        mask[chosen] = True
        ctx.log(f"kept {len(chosen)} with losses up to {float(losses[chosen].max()):.4f}")
        return Keep(mask=mask)

    def losses(self, network: nn.Module, loss: Loss, train: Data) -> Tensor:
        """Return the victim's loss of every example in eval mode, ``[N]``."""
        if train.spec.arity is not None:
            return row_losses(network, loss, train, self.batch)
        with eval_mode(network), torch.no_grad():
            return torch.cat([loss(network, x, y) for x, y in train.batches(self.batch)])
