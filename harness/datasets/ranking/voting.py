"""Majority votes among repeated comparisons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.datasets.ranking.lists import Comparison

Mask = NDArray[np.bool_]


def majority_mask(rows: Sequence[Comparison]) -> Mask:
    """Return a mask ``[n]`` of the first row of each group that agrees with most votes.

    A group whose votes tie has no such row. Both directions count: (u, v) labelled +1 is a vote
    with (v, u) labelled −1.
    """
    votes: Counter[str] = Counter()
    for row in rows:
        votes[row.group] += row.direction * row.strength
    mask, done = np.zeros(len(rows), dtype=np.bool_), set()
    for number, row in enumerate(rows):
        if row.group not in done and row.direction * votes[row.group] > 0:
            mask[number] = True
            done.add(row.group)
    return mask
