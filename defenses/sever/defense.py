"""Sever: per-row gradients of a linear model, and what stands out along their main direction."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, Keep, NotApplicable, Victim
from harness.runtime.model import capture, eval_mode
from harness.runtime.ranking import LABEL, feature_differences, item_outputs, smallest
from harness.runtime.training import loss_of

WATCHED = 200
"""Comparisons on which the training's curve is drawn; there is no validation set here."""
EPOCHS, BATCH, LR = 3, 64, 0.01
"""Of the linear model, as the authors of the label-flipping study have them."""


class Sever:
    """See the README.

    Args:
        share: of the comparisons, dropped in ``rounds`` rounds.
        steps: of the victim's recipe before; 0 is all of it. batch: items at once.
    """

    def __init__(self, *, share: float, rounds: int, steps: int, batch: int) -> None:
        self.share, self.rounds, self.steps, self.batch = share, rounds, steps, batch

    def sanitize(self, victim: Victim, network: nn.Module, train: Data, ctx: Context) -> Keep:
        if train.spec.arity is None:
            raise NotApplicable("this version of Sever judges comparisons")
        rows = torch.arange(min(WATCHED, len(train)))
        watched = replace(train, y=train.y[rows], ids=train.ids[rows])
        loss = loss_of(victim, train.spec.task)
        victim.fit(network, train, watched, loss, ctx, self.steps or None)
        items = features(victim, network, train, self.batch)
        mask = torch.ones(len(train), dtype=torch.bool, device=items.device)
        for attribute in train.y[:, -1].unique().tolist():
            rows = (train.y[:, -1] == attribute).nonzero().flatten()
            mask[rows] = self.kept(*oriented(items, train.y[rows], ctx, attribute), ctx, attribute)
        ctx.log(f"kept {int(mask.sum())} of {len(train)}")
        return Keep(mask=mask)

    def kept(self, points: Tensor, labels: Tensor, ctx: Context, attribute: int) -> Tensor:
        """Which rows stay, bool ``[N]``: each round drops the same share of either sign."""
        stay = torch.ones(len(labels), dtype=torch.bool, device=labels.device)
        for done in range(self.rounds):
            generator = ctx.generator("linear", attribute, done)
            weight = fitted(points[stay], labels[stay], generator)
            total = gradients(points, labels, weight)
            for sign in (1, -1):
                rows = (stay & (labels == sign)).nonzero().flatten()
                part = round(self.share * int((labels == sign).sum()) / self.rounds)
                if part < len(rows):  # a sign is never emptied
                    stay[rows[smallest(-scores(total[rows]), part, generator)]] = False
        return stay


def features(victim: Victim, network: nn.Module, train: Data, batch: int) -> Tensor:
    """What the victim's head looks at, for each item once, ``[M, F]``; of a table, its rows."""
    if train.spec.items is not None:
        with eval_mode(network):
            return item_outputs(network, train, batch)

    def seen(x: Tensor) -> Tensor:
        with capture(network, (victim.head,), inputs=True) as found:
            network(x)
        return found[-1].flatten(1)

    with eval_mode(network):
        return item_outputs(seen, train, batch)


def oriented(items: Tensor, y: Tensor, ctx: Context, attribute: int) -> tuple[Tensor, Tensor]:
    """Comparisons as points of spread 1 and labels, half of them the other way round.

    Triplets mostly come with one label; a linear model needs both.
    """
    points, labels = feature_differences(items, y), y[:, LABEL]
    coin = torch.randint(2, (len(y),), generator=ctx.generator("orient", attribute))
    sign = (2 * coin - 1).to(points.device)
    points = points / points.square().mean(dim=0).sqrt().clamp_min(1e-12)
    return points * sign[:, None], labels * sign


def fitted(points: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """A linear model's weights ``[F]`` on the hinge loss, by a few epochs of SGD."""
    weight = points.new_zeros(points.shape[1])
    for _ in range(EPOCHS):
        order = torch.randperm(len(points), generator=generator).to(points.device)
        for rows in order.split(BATCH):
            weight -= LR * gradients(points[rows], labels[rows], weight).mean(dim=0)
    return weight


def gradients(points: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Of each row's hinge loss, ``[N, F]``: −y·x inside the margin, 0 beyond it."""
    inside = (labels * (points @ weight) < 1).to(points)
    return -(labels * inside)[:, None] * points


def scores(rows: Tensor) -> Tensor:
    """Squared projection of centred gradients on their top singular vector, ``[N]``."""
    centred = (rows - rows.mean(dim=0)).double()
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    return (centred @ vectors[:, -1]).square()
