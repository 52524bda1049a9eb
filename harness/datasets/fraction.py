"""Parts of training splits, chosen by hash: a fraction, or a number of examples of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.datasets.base import Split, Splits
from harness.datasets.hashing import hash_order

Rows = NDArray[np.intp]


def train_rows(
    name: str,
    splits: Splits,
    fraction: float = 1.0,
    shots: int | None = None,
    part: tuple[int, int] | None = None,
) -> Rows | None:
    """Return the training rows that a benchmark uses, in order; ``None`` stands for all rows.

    The choice depends on the ids alone, with ``shots`` on the labels too. Fewer examples are a
    subset of more.

    Args:
        name: name of the data set, for errors.
        splits: the data set.
        fraction: share of the examples.
        shots: examples of each class in place of a share, or ``None``.
        part: number, from 1, and count of disjoint parts of which one is used, or ``None``.

    Raises:
        UserError: the fraction is not above 0 and at most 1, or leaves no example; or shots or
            parts are asked for where no example has one class, or of a class with fewer examples.
    """
    task, classes, train = splits.spec["task"], splits.spec["classes"], splits.train
    assert isinstance(classes, list)
    if task != "classification" and (shots, part) != (None, None):
        asked = f"shots: {shots}" if part is None else "part: {}/{}".format(*part)
        what = f"{asked}, but in {task} no example has one class"
        raise UserError(f"data set {name}", what, "give train_fraction instead")
    rows = None
    if part is not None:
        rows = part_rows(name, train, classes, *part)
        train = replace(train, x=train.x[:0], y=train.y[rows], ids=train.ids[rows])
    if shots is None:
        chosen = fraction_rows(name, train, fraction)
    else:
        chosen = shot_rows(name, train, classes, shots)
    return chosen if rows is None else rows if chosen is None else rows[chosen]


def part_rows(name: str, train: Split, classes: Sequence[str], number: int, count: int) -> Rows:
    """Return the training rows of one of several disjoint parts, in order.

    In each class, groups are dealt out in the order of their hashes; an example without a group is
    one of its own.

    Args:
        name: name of the data set, for errors.
        train: the training split.
        classes: names of the classes.
        number: number of the part, from 1.
        count: number of parts.

    Raises:
        UserError: a class has fewer groups than there are parts.
    """
    groups = np.asarray(train.ids if train.groups is None else train.groups)
    labels, chosen = np.asarray(train.y), []
    for label, title in enumerate(classes):
        rows = np.flatnonzero(labels == label)
        units = np.unique(groups[rows])
        if len(units) < count:
            what = f"part: class {title} has {len(units)} of {count} groups of training examples"
            raise UserError(f"data set {name}", what, "give fewer parts")
        own = units[hash_order(units, "part")[number - 1 :: count]]
        chosen.append(rows[np.isin(groups[rows], own)])
    return np.sort(np.concatenate(chosen))


def fraction_rows(name: str, train: Split, fraction: float) -> Rows | None:
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


def shot_rows(name: str, train: Split, classes: Sequence[str], shots: int) -> Rows:
    """Return the first ``shots`` training rows of each class by the hash of their ids, in order.

    Raises:
        UserError: a class has fewer examples; the first is named.
    """
    order = hash_order(train.ids, "shots")
    labels = np.asarray(train.y)[order]
    counts = np.bincount(labels, minlength=len(classes))
    few = np.flatnonzero(counts < shots)
    if len(few):
        what = f"shots: {shots}, but class {classes[few[0]]} has {counts[few[0]]} training examples"
        more = f" ({len(few)} of {len(classes)} classes have too few)" if len(few) > 1 else ""
        fix = f"give at most {counts.min()}" if counts.min() else "give train_fraction instead"
        raise UserError(f"data set {name}", what + more, fix)
    chosen = [order[labels == number][:shots] for number in range(len(classes))]
    return np.sort(np.concatenate(chosen))


def select_rows(task: str, train: Split, rows: Rows) -> Split:
    """Return some rows of a training split; in ranking, comparisons are chosen and items stay."""
    x = train.x if task == "ranking" else train.x[rows]
    boxes, groups = (
        None if array is None else array[rows] for array in (train.boxes, train.groups)
    )
    return Split(x=x, y=train.y[rows], ids=train.ids[rows], boxes=boxes, groups=groups)
