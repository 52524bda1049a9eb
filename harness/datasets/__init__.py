"""The data sets: one table, found by name."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.common.text import suggest
from harness.datasets import base, digits, stored
from harness.datasets.base import Card, DataMissing, Dataset, Split, Splits, hash_order
from harness.datasets.classification import fetched
from harness.datasets.ranking import comparisons, digit_pairs, judgements, lists, pubfig, signs
from harness.datasets.segmentation import roads, scenes
from harness.datasets.stored import Shelf

__all__ = [
    "DATASETS",
    "Card",
    "DataMissing",
    "Dataset",
    "Split",
    "Splits",
    "digest",
    "flip_lines",
    "get",
    "lines",
    "load",
    "shelf",
]

_FAMILIES = (digits, digit_pairs, scenes, fetched, roads, comparisons, pubfig, signs)
_SHELVES: dict[str, Shelf] = {
    **{shelf.name: shelf for family in (fetched, roads) for shelf in family.SHELVES},
    **comparisons.SHELVES,
    **pubfig.SHELVES,
    **signs.SHELVES,
}
"""Where every data set lies that is not bundled; two may lie together."""

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset for family in _FAMILIES for dataset in family.DATASETS
}


def get(name: str) -> Dataset:
    """A data set by its name; an unknown one is a ``UserError`` that names the nearest."""
    if name not in DATASETS:
        fix = suggest(name, DATASETS, "use one of")
        raise UserError(f"data set {name}", "there is no data set of this name", fix)
    return DATASETS[name]


def digest(name: str, root: Path) -> str:
    """What the data are made from, without loading them: equal digests give equal arrays.

    Bundled: the source text of the loader (and of what every loader uses). Fetched: the arrays'
    digest in their manifest; raises ``DataMissing`` where they were not fetched.
    """
    dataset = get(name)
    if dataset.bundled:
        family = next(family for family in _FAMILIES if dataset in family.DATASETS)
        sources = [inspect.getsource(module) for module in (base, digits, family)]
        content = hashlib.sha256("\0".join(sources).encode()).hexdigest()
    else:
        content = stored.recorded_digest(_SHELVES[name], root)
    return hashlib.sha256(json.dumps([name, dataset.version, content]).encode()).hexdigest()


def shelf(name: str) -> Shelf:
    """Where a data set lies that is fetched; ``KeyError`` for a bundled one."""
    return _SHELVES[name]


def load(name: str, root: Path, train_fraction: float = 1.0) -> Splits:
    """A data set with a share of its training examples (in ranking: of its comparisons).

    Which examples stay depends on their ids alone, and a smaller share is part of a larger one.
    """
    dataset = get(name)
    splits = dataset.load(root)
    train, rows = splits.train, _share(name, splits.train, train_fraction)
    if rows is None:
        return splits
    x = train.x if dataset.task == "ranking" else train.x[rows]
    return replace(splits, train=Split(x=x, y=train.y[rows], ids=train.ids[rows]))


def _share(name: str, train: Split, fraction: float) -> NDArray[np.intp] | None:
    """The rows that a share of train has, in order; ``None`` for all of them."""
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


def lines(name: str, root: Path, train_fraction: float = 1.0) -> list[str]:
    """The training comparisons of a ranking set as text, a line for each row of ``train.y``.

    Sets that were read from a list give the list's own lines, all others ``u,v,label,attribute``
    (triplets ``a,p,q,label,attribute``) of item rows.
    """
    dataset = get(name)
    if dataset.task != "ranking":
        what = f"is for {dataset.task}: it has no comparisons"
        raise UserError(f"data set {name}", what, "name a ranking set")
    train = dataset.load(root).train
    rows = _share(name, train, train_fraction)
    listing = dataset.listing
    if listing is None:
        return judgements.own_lines(train.y if rows is None else train.y[rows])
    found = listing.read(root)
    return found if rows is None else [found[row] for row in rows.tolist()]


def flip_lines(name: str, text: Sequence[str], rows: Iterable[int]) -> list[str]:
    """Lines of ``lines`` with the judgements of some rows turned; all other bytes stay.

    Which rows those are, the judge's ``turned`` says of two label arrays.
    """
    listing, result = get(name).listing, list(text)
    for row in rows:
        result[row] = (lists.flip_own if listing is None else listing.flip)(result[row])
    return result
