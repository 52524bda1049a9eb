"""Sets of judgements: the majority's, and our own lines of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import Array
from harness.datasets.ranking.lists import Row

Mask = NDArray[np.bool_]


def majority(rows: Sequence[Row]) -> Mask:
    """Bool ``[n]``: one row a group, the first that says what most votes say; none where they tie.

    Both directions count: (u, v) judged +1 is a vote with (v, u) judged −1.
    """
    votes: Counter[str] = Counter()
    for row in rows:
        votes[row.group] += row.direction * row.strength
    kept, done = np.zeros(len(rows), dtype=np.bool_), set()
    for number, row in enumerate(rows):
        if row.group not in done and row.direction * votes[row.group] > 0:
            kept[number] = True
            done.add(row.group)
    return kept


def own_lines(y: Array) -> list[str]:
    r"""Rows of ``y`` as lines of ``OWN``.

    >>> own_lines(np.array([[4, 7, -1, 0]]))
    ['4,7,-1,0\n']
    """
    return [",".join(map(str, row)) + "\n" for row in y.tolist()]
