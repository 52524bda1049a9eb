"""Nearest-neighbour sanitizer: a label that its neighbours outvote is dropped or corrected."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, Keep, NotApplicable, Victim
from harness.runtime.ranking import LABEL, feature_differences

CHUNK = 512
"""Examples whose distances to all others are held at once."""


class KnnSanitizer:
    """Distances are Euclidean between pixels, or the ``feature_differences`` of comparisons.

    Args:
        k: neighbours that vote.
        relabel: give an outvoted example its neighbours' label instead of dropping it.
    """

    def __init__(self, *, k: int, relabel: bool) -> None:
        self.k, self.relabel = k, relabel

    def sanitize(self, victim: Victim, network: nn.Module, train: Data, ctx: Context) -> Keep:
        spec = train.spec
        if spec.items is not None:
            raise NotApplicable("items that are known by number only have no neighbours")
        if spec.arity is None:
            own = train.y
            winner = elect(train.x.flatten(1), own, spec.outputs, len(own), self.k)
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


def elect_comparisons(train: Data, labels: Tensor, k: int) -> Tensor:
    """As ``elect``, within each attribute; two items swapped with the other label say the same."""
    x, winner = train.x.flatten(1), labels.clone()
    for attribute in train.y[:, -1].unique():
        rows = (train.y[:, -1] == attribute).nonzero().flatten()
        found = feature_differences(x, train.y[rows])
        both = torch.cat([labels[rows], 1 - labels[rows]])
        winner[rows] = elect(torch.cat([found, -found]), both, 2, len(rows), k)
    return winner
