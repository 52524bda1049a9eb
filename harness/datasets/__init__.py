"""Data sets: the table of all of them, and access by name."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from harness.common.errors import UserError
from harness.common.text import suggest
from harness.datasets import base, cache, digits, fitted
from harness.datasets.base import Card, DataMissing, Dataset, Split, Splits
from harness.datasets.cache import CacheEntry
from harness.datasets.classification import small_images
from harness.datasets.fraction import fraction_rows, select_rows
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
    "find",
    "flip_lines",
    "get",
    "key_digest",
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
    """Return a data set by name; for an unknown name, the ``UserError`` suggests the nearest.

    Beside those of the table, bundled sets are there in other picture forms (``fitted``).
    """
    found = find(name)
    if found is None:
        fix = suggest(name, DATASETS, "use one of")
        raise UserError(f"data set {name}", "there is no data set of this name", fix)
    return found


def find(name: str) -> Dataset | None:
    """Return a data set by name, as ``get``; ``None`` for an unknown name."""
    if parsed := fitted.parse_name(name):
        return fitted.make(DATASETS[parsed[0]], parsed[1])
    return DATASETS.get(name)


def digest(name: str, root: Path) -> str:
    """Return a digest of a data set's origin without loading it: equal digests, equal arrays.

    The digest of a bundled set covers the source code of its family, that of a fetched set the
    digests of its arrays, read from the manifest.

    Raises:
        DataMissing: the data set has to be fetched first.
    """
    dataset = get(name)
    if dataset.bundled:
        content = _loader_digest(dataset)
    else:
        content = cache.recorded_digest(_CACHE_ENTRIES[name], root)
    return hashlib.sha256(json.dumps([name, dataset.version, content]).encode()).hexdigest()


def key_digest(name: str, root: Path) -> str:
    """Return a digest of all that decides a data set's splits, for stage keys.

    That is its ``digest`` and the code of its own family: a change of another set keeps it. What
    all sets share (``hashing``, ``fraction``) is in the key of the data stage.

    Raises:
        DataMissing: as ``digest``.
    """
    origin = digest(name, root)
    return hashlib.sha256(f"{origin} {_loader_digest(get(name))}".encode()).hexdigest()


def _loader_digest(dataset: Dataset) -> str:
    return hashlib.sha256("\0".join(_loader_code(dataset)).encode()).hexdigest()


def _loader_code(dataset: Dataset) -> Iterator[str]:
    """Yield the source code that decides a data set's splits, and no code of other families."""
    families = [family for family in _FAMILIES if dataset in family.DATASETS]
    loader = inspect.getmodule(getattr(dataset.load, "func", dataset.load))
    # bundled sets are made of the digits
    made_of: tuple[ModuleType, ...] = (digits,) if dataset.bundled else ()
    if not families:
        made_of = (fitted, digits, digit_pairs, scenes)
    for part in dict.fromkeys((*families, loader, *made_of)):
        assert part is not None
        yield inspect.getsource(part)
    for function in (base.image_spec, base.comparison_spec):
        yield inspect.getsource(function)


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
    rows = fraction_rows(name, splits.train, train_fraction)
    if rows is None:
        return splits
    return replace(splits, train=select_rows(dataset.task, splits.train, rows))


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
    rows = fraction_rows(name, train, train_fraction)
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
