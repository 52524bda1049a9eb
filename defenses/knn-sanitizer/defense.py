"""Nearest-neighbour sanitizer: a label that its neighbours outvote is dropped or corrected."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, Keep, NotApplicable, Victim

CHUNK = 512
"""Examples whose distances to all others are held at once."""


class KnnSanitizer:
    """Distances are Euclidean between pixels; a comparison is the difference of its two items.

    Args:
        k: neighbours that vote.
        relabel: give an outvoted example its neighbours' label instead of dropping it.
    """

    def __init__(self, *, k: int, relabel: bool) -> None:
        self.k, self.relabel = k, relabel

    def sanitize(self, victim: Victim, network: nn.Module, train: Data, ctx: Context) -> Keep:
        spec = train.spec
        if spec.arity not in (None, 2) or spec.items is not None:
            raise NotApplicable("only examples and pairs with pixels or features have neighbours")
        if spec.arity is None:
            own = train.y
            winner = elect(train.x.flatten(1), own, spec.outputs, len(own), self.k)
        else:
            own = (train.y[:, 2] > 0).long()
            winner = elect_pairs(train, own, self.k)
        keep = winner == own
        if not self.relabel:
            return Keep(mask=keep)
        y = train.y.clone()
        if spec.arity is None:
            y = winner
        else:
            y[~keep, 2] *= -1
        return Keep(mask=torch.ones_like(keep), y=y)


def elect(points: Tensor, labels: Tensor, classes: int, count: int, k: int) -> Tensor:
    """The label that most of an example's neighbours have; its own in a tie, ``[count]``.

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


def elect_pairs(train: Data, labels: Tensor, k: int) -> Tensor:
    """As ``elect``, within each attribute; (v, u) with the other label says the same as (u, v)."""
    x, winner = train.x.flatten(1), labels.clone()
    for attribute in train.y[:, 3].unique():
        rows = (train.y[:, 3] == attribute).nonzero().flatten()
        gaps = x[train.y[rows, 0]] - x[train.y[rows, 1]]
        both = torch.cat([labels[rows], 1 - labels[rows]])
        winner[rows] = elect(torch.cat([gaps, -gaps]), both, 2, len(rows), k)
    return winner
