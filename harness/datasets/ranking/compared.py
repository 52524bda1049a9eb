"""Ranking sets that are fetched: read from a person's copy, loaded memory-mapped.

Each split has its own items. One fetch may serve two sets: all judgements, and the majority's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.datasets import stored
from harness.datasets.base import (
    Array,
    Card,
    Dataset,
    Facts,
    Listing,
    Split,
    Splits,
    by_hand,
    check_folder,
    downloading,
    inputs_of,
)
from harness.datasets.ranking import lists
from harness.datasets.ranking.grammars import Grammar

PARTS = ("train", "val", "test")
LINES = "train_lines"
"""Bytes ``[n]`` of a fixed width: the line of each training row."""


@dataclass(frozen=True)
class Kind:
    """A ranking set, or two that one fetch serves.

    Attributes:
        fill: source folder, and the folder to write ``arrays`` into → what the manifest says.
        accepted: what a source folder has to hold, for a person. source: where to get it.
        grammar: of the list that it comes as, if it does.
        voted: the majority's judgements are marked, and can be loaded alone.
        download: gets a source into a folder, where we may.
    """

    name: str
    version: int
    spec: Mapping[str, object]
    fill: Callable[[Path, Path], Mapping[str, object]]
    accepted: str
    source: str
    grammar: Grammar | None = None
    voted: bool = False
    download: Callable[[Path], None] | None = None

    @property
    def shelf(self) -> stored.Shelf:
        """Where its arrays lie."""
        fields = ("x", "y", "ids", "voted") if self.voted else ("x", "y", "ids")
        arrays = tuple(f"{part}_{field}" for part in PARTS for field in fields)
        lines = () if self.grammar is None else (LINES,)
        return stored.Shelf(self.name, self.version, arrays + lines)


def save(folder: Path, name: str, array: Array) -> None:
    """Write one array of a shelf, when it is filled."""
    np.save(folder / f"{name}.npy", array, allow_pickle=False)


def fetch(kind: Kind, root: Path, from_dir: Path | None) -> None:
    """Read a person's copy, or download one, and put it under the root in one step.

    Raises:
        UserError: no folder is given where one is needed, or what is in it is not the set.
    """
    if from_dir is not None:
        check_folder(from_dir, kind.accepted)
    elif kind.download is None:
        raise by_hand(kind.name, kind.source, kind.accepted)
    stored.put(kind.shelf, root, partial(_fill, kind, from_dir))


def _fill(kind: Kind, from_dir: Path | None, folder: Path) -> dict[str, object]:
    if from_dir is not None:
        return {"source": str(from_dir), **kind.fill(from_dir, folder)}
    assert kind.download is not None  # fetch has looked
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        with downloading(kind.name):
            kind.download(Path(scratch))
        return {"source": kind.source, **kind.fill(Path(scratch), folder)}


def load(kind: Kind, voted: bool, root: Path) -> Splits:
    """The fetched arrays, memory-mapped, checked against their manifest.

    Args:
        voted: the majority's judgements alone.
    """
    found = stored.load(kind.shelf, root)
    train, val, test = (
        Split(
            x=found[f"{part}_x"],
            y=_kept(found, part, "y", voted),
            ids=_kept(found, part, "ids", voted).astype(np.int64, copy=False),
        )
        for part in PARTS
    )
    return Splits(spec=dict(kind.spec), train=train, val=val, test=test)


def _kept(found: Mapping[str, Array], part: str, field: str, voted: bool) -> Array:
    array = found[f"{part}_{field}"]
    return array[found[f"{part}_voted"]] if voted else array


def read_lines(kind: Kind, voted: bool, root: Path) -> list[str]:
    """The lines of ``train.y``, in its order."""
    found: dict[str, Any] = stored.load(kind.shelf, root)
    kept = found[LINES][found["train_voted"]] if voted else found[LINES]
    return [line.decode("utf-8") for line in kept.tolist()]


def dataset(
    kind: Kind,
    card: Card,
    sizes: tuple[int, int, int],
    *,
    name: str | None = None,
    voted: bool = False,
) -> Dataset:
    """The row of the table of data sets.

    Args:
        kind: how it is fetched and loaded.
        card: what a person has to know.
        sizes: comparisons of train, val and test, as published.
        name: where it is not the shelf's.
        voted: the majority's judgements alone.
    """
    spec: dict[str, Any] = dict(kind.spec)
    listing = None
    if kind.grammar is not None:
        flip = partial(lists.flip, grammar=kind.grammar)
        listing = Listing(read=partial(read_lines, kind, voted), flip=flip)
    return Dataset(
        name=name or kind.name,
        task="ranking",
        version=kind.version,
        card=card,
        facts=Facts(*sizes, spec["outputs"], tuple(spec["shape"])),
        load=partial(load, kind, voted),
        bundled=False,
        fetch=partial(fetch, kind),
        listing=listing,
        inputs=inputs_of(kind.spec),
    )
