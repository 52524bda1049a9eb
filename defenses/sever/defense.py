"""Sever (Diakonikolas et al., ICML 2019) on a linear model of comparisons' features."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, Keep, Victim
from harness.runtime.model import capture, eval_mode
from harness.runtime.ranking import LABEL, feature_differences, item_outputs, smallest
from harness.runtime.training import loss_of

WATCHED = 200
"""Comparisons on which the training's curve is drawn; there is no validation set here."""
EPOCHS, BATCH, LR = 3, 64, 0.01
"""Training of the linear model, as in the label-flipping study that the README names."""


class Sever:
    """Removal of the comparisons whose gradients stand out along their main direction.

    Args:
        share: share of the comparisons that is dropped, over all rounds.
        rounds: number of times that the model is fitted and the worst rows dropped.
        steps: gradient steps before features are read; 0 is the victim's whole recipe.
        batch: items whose features are read at once.
    """

    def __init__(self, *, share: float, rounds: int, steps: int, batch: int) -> None:
        self.share, self.rounds, self.steps, self.batch = share, rounds, steps, batch

    def sanitize(self, victim: Victim, network: nn.Module, train: Data, ctx: Context) -> Keep:
        rows = torch.arange(min(WATCHED, len(train)))
        watched = replace(train, y=train.y[rows], ids=train.ids[rows])
        loss = loss_of(victim, train.spec)
        recipe = victim.recipe(train)
        if self.steps:
            recipe = replace(recipe, steps=self.steps)
        victim.fit(network, train, watched, loss, ctx, recipe)
        items = features(victim, network, train, self.batch)
        mask = torch.ones(len(train), dtype=torch.bool, device=items.device)
        for attribute in train.y[:, -1].unique().tolist():
            rows = (train.y[:, -1] == attribute).nonzero().flatten()
            mask[rows] = self.select(*orient(items, train.y[rows], ctx, attribute), ctx, attribute)
        ctx.log(f"kept {int(mask.sum())} of {len(train)}")
        return Keep(mask=mask)

    def select(self, points: Tensor, labels: Tensor, ctx: Context, attribute: int) -> Tensor:
        """Return which rows stay, bool ``[N]``: each round drops the same share of either sign."""
        stay = torch.ones(len(labels), dtype=torch.bool, device=labels.device)
        for done in range(self.rounds):
            generator = ctx.generator("linear", attribute, done)
            weight = fit_linear(points[stay], labels[stay], generator)
            total = gradients(points, labels, weight)
            for sign in (1, -1):
                rows = (stay & (labels == sign)).nonzero().flatten()
                part = round(self.share * int((labels == sign).sum()) / self.rounds)
                if part < len(rows):  # a sign is never emptied
                    stay[rows[smallest(-scores(total[rows]), part, generator)]] = False
        return stay


def features(victim: Victim, network: nn.Module, train: Data, batch: int) -> Tensor:
    """Return the inputs of the victim's head, ``[M, F]``; for items known by number its outputs."""
    if train.spec.items is not None:
        with eval_mode(network):
            return item_outputs(network, train, batch)

    def head_inputs(x: Tensor) -> Tensor:
        with capture(network, (victim.head,), inputs=True) as found:
            network(x)
        return found[-1].flatten(1)

    with eval_mode(network):
        return item_outputs(head_inputs, train, batch)


def orient(items: Tensor, y: Tensor, ctx: Context, attribute: int) -> tuple[Tensor, Tensor]:
    """Return comparisons as scaled points and labels, a random half of them mirrored.

    Triplets mostly come with one label, and a linear model needs both.
    """
    points, labels = feature_differences(items, y), y[:, LABEL]
    coin = torch.randint(2, (len(y),), generator=ctx.generator("orient", attribute))
    sign = (2 * coin - 1).to(points.device)
    points = points / points.square().mean(dim=0).sqrt().clamp_min(1e-12)
    return points * sign[:, None], labels * sign


def fit_linear(points: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Return a linear model's weights ``[F]`` after a few epochs of SGD on the hinge loss."""
    weight = points.new_zeros(points.shape[1])
    for _ in range(EPOCHS):
        order = torch.randperm(len(points), generator=generator).to(points.device)
        for rows in order.split(BATCH):
            weight -= LR * gradients(points[rows], labels[rows], weight).mean(dim=0)
    return weight


def gradients(points: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of each row's hinge loss, ``[N, F]``: −y·x inside the margin, else 0."""
    inside = (labels * (points @ weight) < 1).to(points)
    return -(labels * inside)[:, None] * points


def scores(rows: Tensor) -> Tensor:
    """Return the squared projections of centred gradients on their top singular vector, ``[N]``."""
    centred = (rows - rows.mean(dim=0)).double()
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    return (centred @ vectors[:, -1]).square()
