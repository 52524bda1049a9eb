"""The data sets: one table, found by name."""

from __future__ import annotations

import hashlib
import inspect
import json
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from harness.datasets import base, digits, fetched, ranking, roads, scenes, stored
from harness.datasets.base import Card, DataMissing, Dataset, Split, Splits, hash_order
from harness.errors import UserError

__all__ = ["DATASETS", "Card", "DataMissing", "Dataset", "Split", "Splits", "digest", "get", "load"]

_FAMILIES = (digits, ranking, scenes, fetched, roads)
_SHELVES = {shelf.name: shelf for family in (fetched, roads) for shelf in family.SHELVES}
"""Where every data set lies that is not bundled."""

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset for family in _FAMILIES for dataset in family.DATASETS
}


def get(name: str) -> Dataset:
    """A data set by its name; an unknown one is a ``UserError`` that names the nearest."""
    if name not in DATASETS:
        close = get_close_matches(name, DATASETS, n=1)
        fix = f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(DATASETS)}"
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


def load(name: str, root: Path, train_fraction: float = 1.0) -> Splits:
    """A data set with a share of its training examples (in ranking: of its comparisons).

    Which examples stay depends on their ids alone, and a smaller share is part of a larger one.
    """
    dataset = get(name)
    if not 0 < train_fraction <= 1:
        what = f"train_fraction is {train_fraction}"
        raise UserError(f"data set {name}", what, "give a number above 0 and at most 1")
    splits = dataset.load(root)
    if train_fraction == 1:
        return splits
    train = splits.train
    count = round(train_fraction * len(train.ids))
    if not count:
        what = f"train_fraction {train_fraction} of {len(train.ids):,} examples leaves none"
        raise UserError(f"data set {name}", what, "give a larger number")
    rows = np.sort(hash_order(train.ids, "train_fraction")[:count])
    x = train.x if dataset.task == "ranking" else train.x[rows]
    return replace(splits, train=Split(x=x, y=train.y[rows], ids=train.ids[rows]))
