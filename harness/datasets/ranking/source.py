"""Source of a ranking set: read from a folder of the user, loaded memory-mapped.

Each split has its own items. One fetch may serve two sets: all votes, and the majority's alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from harness.datasets import cache
from harness.datasets.base import (
    Array,
    Card,
    Dataset,
    Facts,
    Listing,
    Split,
    Splits,
    check_folder,
    input_kind,
    manual_download_error,
    wrap_download_errors,
)
from harness.datasets.ranking import lists
from harness.datasets.ranking.grammars import Grammar

PARTS = ("train", "val", "test")
LINES = "train_lines"
"""Name of the array of training lines: bytes ``[n]`` of a fixed width."""


@dataclass(frozen=True)
class RankingSource:
    """A ranking set, or two that share one fetch.

    Attributes:
        name: of the cache entry.
        version: of the reader; raised when it returns other arrays than before.
        spec: spec of the data set.
        write_arrays: takes the source folder and the folder for the arrays; returns fields of the
            manifest.
        accepted: description of a source folder for messages.
        origin: where users get it, for messages.
        grammar: of the list that it is read from, if there is one.
        voted: whether majority votes are marked and can be loaded alone.
        download: downloads the source into a folder, where its terms allow that.
    """

    name: str
    version: int
    spec: Mapping[str, object]
    write_arrays: Callable[[Path, Path], Mapping[str, object]]
    accepted: str
    origin: str
    grammar: Grammar | None = None
    voted: bool = False
    download: Callable[[Path], None] | None = None

    @property
    def cache_entry(self) -> cache.CacheEntry:
        """Cache entry of the arrays."""
        fields = ("x", "y", "ids", "voted") if self.voted else ("x", "y", "ids")
        arrays = tuple(f"{part}_{field}" for part in PARTS for field in fields)
        lines = () if self.grammar is None else (LINES,)
        return cache.CacheEntry(self.name, self.version, arrays + lines)


def fetch(source: RankingSource, root: Path, from_dir: Path | None) -> None:
    """Read a data set from a folder, or download it, and write it to the cache in one step.

    Raises:
        UserError: a folder is needed and not given, or it does not hold the data set.
    """
    if from_dir is not None:
        check_folder(from_dir, source.accepted)
    elif source.download is None:
        raise manual_download_error(source.name, source.origin, source.accepted)
    cache.write_entry(source.cache_entry, root, partial(_write_arrays, source, from_dir))


def _write_arrays(source: RankingSource, from_dir: Path | None, out: Path) -> dict[str, object]:
    if from_dir is not None:
        return {"source": str(from_dir), **source.write_arrays(from_dir, out)}
    assert source.download is not None  # checked in fetch
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        with wrap_download_errors(source.name):
            source.download(Path(scratch))
        return {"source": source.origin, **source.write_arrays(Path(scratch), out)}


def load(source: RankingSource, voted: bool, root: Path) -> Splits:
    """Load the fetched arrays as memory maps, checked against their manifest.

    Args:
        source: the data set.
        voted: whether to load the majority votes alone.
        root: data root.
    """
    arrays = cache.load_arrays(source.cache_entry, root)
    train, val, test = (
        Split(
            x=arrays[f"{part}_x"],
            y=_select(arrays, part, "y", voted),
            ids=_select(arrays, part, "ids", voted).astype(np.int64, copy=False),
        )
        for part in PARTS
    )
    return Splits(spec=dict(source.spec), train=train, val=val, test=test)


def _select(arrays: Mapping[str, Array], part: str, field: str, voted: bool) -> Array:
    """Return a field of a split: all rows, or the majority votes alone."""
    array = arrays[f"{part}_{field}"]
    return array[arrays[f"{part}_voted"]] if voted else array


def read_lines(source: RankingSource, voted: bool, root: Path) -> list[str]:
    """Return the lines of ``train.y``, in its order."""
    arrays = cache.load_arrays(source.cache_entry, root)
    lines: list[bytes] = (arrays[LINES][arrays["train_voted"]] if voted else arrays[LINES]).tolist()
    return [line.decode("utf-8") for line in lines]


def make_dataset(
    source: RankingSource,
    card: Card,
    sizes: tuple[int, int, int],
    *,
    name: str | None = None,
    voted: bool = False,
) -> Dataset:
    """Make the row of the table of data sets.

    Args:
        source: how the data set is fetched and loaded.
        card: data card.
        sizes: number of training, validation and test comparisons, as published.
        name: of the data set, where it differs from the cache entry's.
        voted: whether it holds the majority votes alone.
    """
    outputs, shape = source.spec["outputs"], source.spec["shape"]
    assert isinstance(outputs, int)
    assert isinstance(shape, list)
    listing = None
    if source.grammar is not None:
        flip = partial(lists.flip_line, grammar=source.grammar)
        listing = Listing(read=partial(read_lines, source, voted), flip=flip)
    return Dataset(
        name=name or source.name,
        task="ranking",
        version=source.version,
        card=card,
        facts=Facts(*sizes, outputs, tuple(shape)),
        load=partial(load, source, voted),
        bundled=False,
        fetch=partial(fetch, source),
        listing=listing,
        inputs=input_kind(source.spec),
    )
