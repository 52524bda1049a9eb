"""Data sets: the table of all of them, and access by name."""

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
from harness.datasets import base, cache, digits, hashing
from harness.datasets.base import Card, DataMissing, Dataset, Split, Splits
from harness.datasets.cache import CacheEntry
from harness.datasets.classification import small_images
from harness.datasets.hashing import hash_order
from harness.datasets.ranking import comparisons, digit_pairs, lists, pubfig, signs
from harness.datasets.segmentation import roads, scenes

__all__ = [
    "DATASETS",
    "Card",
    "DataMissing",
    "Dataset",
    "Split",
    "Splits",
    "cache_entry",
    "comparison_lines",
    "copy_note",
    "digest",
    "flip_lines",
    "get",
    "load",
]

_FAMILIES = (digits, digit_pairs, scenes, small_images, roads, comparisons, pubfig, signs)
_CACHE_ENTRIES: dict[str, CacheEntry] = {
    **small_images.CACHE_ENTRIES,
    **roads.CACHE_ENTRIES,
    **comparisons.CACHE_ENTRIES,
    **pubfig.CACHE_ENTRIES,
    **signs.CACHE_ENTRIES,
}
"""Name → cache entry of each data set that is fetched; two data sets may share one."""

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset for family in _FAMILIES for dataset in family.DATASETS
}


def get(name: str) -> Dataset:
    """Return a data set by name; for an unknown name, the ``UserError`` suggests the nearest."""
    if name not in DATASETS:
        fix = suggest(name, DATASETS, "use one of")
        raise UserError(f"data set {name}", "there is no data set of this name", fix)
    return DATASETS[name]


def digest(name: str, root: Path) -> str:
    """Return a digest of a data set's origin without loading it: equal digests, equal arrays.

    The digest of a bundled set covers the source code of its loader, that of a fetched set the
    digests of its arrays, read from the manifest.

    Raises:
        DataMissing: the data set has to be fetched first.
    """
    dataset = get(name)
    if dataset.bundled:
        family = next(family for family in _FAMILIES if dataset in family.DATASETS)
        sources = [inspect.getsource(module) for module in (base, hashing, digits, family)]
        content = hashlib.sha256("\0".join(sources).encode()).hexdigest()
    else:
        content = cache.recorded_digest(_CACHE_ENTRIES[name], root)
    return hashlib.sha256(json.dumps([name, dataset.version, content]).encode()).hexdigest()


def cache_entry(name: str) -> CacheEntry:
    """Return the cache entry of a fetched data set; ``KeyError`` for a bundled one."""
    return _CACHE_ENTRIES[name]


def copy_note(name: str, root: Path) -> str:
    """Return what is to be said beside results on the copy of a data set in the data root.

    Such as missing or duplicate pictures, from its manifest; empty for a bundled set, and for one
    that is not here.
    """
    if name not in _CACHE_ENTRIES:
        return ""
    return cache.recorded_note(_CACHE_ENTRIES[name], root)


def load(name: str, root: Path, train_fraction: float = 1.0) -> Splits:
    """Load a data set with a fraction of its training examples (in ranking: of its comparisons).

    The choice of examples depends on their ids alone. A smaller fraction is a subset of a larger.
    """
    dataset = get(name)
    splits = dataset.load(root)
    train, rows = splits.train, _fraction_rows(name, splits.train, train_fraction)
    if rows is None:
        return splits
    x = train.x if dataset.task == "ranking" else train.x[rows]
    return replace(splits, train=Split(x=x, y=train.y[rows], ids=train.ids[rows]))


def _fraction_rows(name: str, train: Split, fraction: float) -> NDArray[np.intp] | None:
    """Return the training rows of a fraction, in order; ``None`` stands for all rows."""
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


def comparison_lines(name: str, root: Path, train_fraction: float = 1.0) -> list[str]:
    """Return the training comparisons of a ranking set as text, one line for each ``train.y`` row.

    A set that was read from a list returns the lines of that list. All other sets return item rows
    as ``u,v,label,attribute`` (triplets: ``a,p,q,label,attribute``).
    """
    dataset = get(name)
    if dataset.task != "ranking":
        what = f"is for {dataset.task}: it has no comparisons"
        raise UserError(f"data set {name}", what, "name a ranking set")
    train = dataset.load(root).train
    rows = _fraction_rows(name, train, train_fraction)
    listing = dataset.listing
    if listing is None:
        return lists.format_rows(train.y if rows is None else train.y[rows])
    all_lines = listing.read(root)
    return all_lines if rows is None else [all_lines[row] for row in rows.tolist()]


def flip_lines(name: str, lines: Sequence[str], rows: Iterable[int]) -> list[str]:
    """Flip the comparisons of some lines of ``comparison_lines``; all other bytes stay.

    Args:
        name: the data set.
        lines: all lines, one for each row of ``train.y``.
        rows: numbers of the lines to flip, from ``flip_mask`` of two label arrays.
    """
    listing, result = get(name).listing, list(lines)
    for row in rows:
        result[row] = (lists.flip_row_line if listing is None else listing.flip)(result[row])
    return result
