"""Fractions of training splits, chosen by hash."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.datasets.base import Split
from harness.datasets.hashing import hash_order


def fraction_rows(name: str, train: Split, fraction: float) -> NDArray[np.intp] | None:
    """Return the training rows of a fraction, in order; ``None`` stands for all rows.

    The choice depends on the ids alone. A smaller fraction is a subset of a larger.

    Raises:
        UserError: the fraction is not above 0 and at most 1, or leaves no example.
    """
    if not 0 < fraction <= 1:
        what = f"train_fraction is {fraction}"
        raise UserError(f"data set {name}", what, "give a number above 0 and at most 1")
    if fraction == 1:
        return None
    count = round(fraction * len(train.ids))
    if not count:
        what = f"train_fraction {fraction} of {len(train.ids):,} examples leaves none"
        raise UserError(f"data set {name}", what, "give a larger number")
    return np.sort(hash_order(train.ids, "train_fraction")[:count])


def select_rows(task: str, train: Split, rows: NDArray[np.intp]) -> Split:
    """Return some rows of a training split; in ranking, comparisons are chosen and items stay."""
    x = train.x if task == "ranking" else train.x[rows]
    return Split(x=x, y=train.y[rows], ids=train.ids[rows])
