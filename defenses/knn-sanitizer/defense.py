"""Nearest-neighbour label sanitisation (after Paudice, Muñoz-González and Lupu 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, Keep, Victim
from harness.runtime.ranking import LABEL, feature_differences

CHUNK = 512
"""Examples whose distances to all others are in memory at once."""

SIDE = 32
"""Side in pixels to which larger pictures are shrunk: 40,000 of 224 pixels would take 24 GB."""

BATCH = 128
"""Pictures that are read at once."""


class KnnSanitizer:
    """Vote of the nearest neighbours on each label; an outvoted one is dropped or corrected.

    Distances are Euclidean, between pixels or between the ``feature_differences`` of comparisons.
    Pictures of more than 32 pixels are compared in the means of their areas.

    Args:
        k: number of neighbours that vote.
        relabel: whether an outvoted example gets its neighbours' label instead of being dropped.
    """

    def __init__(self, *, k: int, relabel: bool) -> None:
        self.k, self.relabel = k, relabel

    def sanitize(self, victim: Victim, network: nn.Module, train: Data, ctx: Context) -> Keep:
        spec = train.spec
        if spec.arity is None:
            own = train.y
            winner = elect(points(train), own, spec.outputs, len(own), self.k)
        else:
            own = (train.y[:, LABEL] > 0).long()
            winner = elect_comparisons(train, own, self.k)
        keep = winner == own
        if not self.relabel:
            return Keep(mask=keep)
        y = train.y.clone()
        if spec.arity is None:
            y = winner
        else:
            y[~keep, LABEL] *= -1
        return Keep(mask=torch.ones_like(keep), y=y)


def points(train: Data) -> Tensor:
    """Return what distances are taken between, ``[N, D]``, without all pictures in memory."""
    return torch.cat([shrunk(x).flatten(1) for x, _ in train.batches(BATCH)])


def shrunk(x: Tensor) -> Tensor:
    """Return pictures with sides of at most ``SIDE``; features and small pictures unchanged."""
    if x.ndim < 4 or max(x.shape[2:]) <= SIDE:
        return x
    height, width = (min(SIDE, side) for side in x.shape[2:])
    return F.adaptive_avg_pool2d(x, (height, width))


def elect(points: Tensor, labels: Tensor, classes: int, count: int, k: int) -> Tensor:
    """Return the label that most of an example's neighbours have, its own in a tie, ``[count]``.

    Point ``i`` belongs to example ``i % count``; an example does not vote on itself.
    """
    owner = torch.arange(len(points), device=points.device) % count
    parts = []
    for rows in torch.arange(count, device=points.device).split(CHUNK):
        distances = torch.cdist(points[rows], points)
        distances[rows[:, None] == owner] = torch.inf
        near = distances.topk(min(k, len(points) - 1), largest=False).indices
        votes = F.one_hot(labels[near], classes).sum(dim=1).float()
        votes[torch.arange(len(rows)), labels[rows]] += 0.5
        parts.append(votes.argmax(dim=1))
    return torch.cat(parts)


def elect_comparisons(train: Data, labels: Tensor, k: int) -> Tensor:
    """Return the same for comparisons, within each attribute.

    A comparison with swapped items and the other label says the same, so it votes as well.
    """
    x, winner = train.x.flatten(1), labels.clone()
    for attribute in train.y[:, -1].unique():
        rows = (train.y[:, -1] == attribute).nonzero().flatten()
        found = feature_differences(x, train.y[rows])
        both = torch.cat([labels[rows], 1 - labels[rows]])
        winner[rows] = elect(torch.cat([found, -found]), both, 2, len(rows), k)
    return winner
