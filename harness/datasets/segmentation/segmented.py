"""Segmentation sets that a person has to get: fetched from a folder, loaded memory-mapped.

They may not be passed on, so there is no download; pixels of no class are ``pairs.VOID``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from harness.datasets import stored
from harness.datasets.base import (
    Card,
    Dataset,
    Facts,
    Split,
    Splits,
    by_hand,
    check_folder,
    picture_spec,
)
from harness.datasets.segmentation import maps, pairs
from harness.datasets.segmentation.pairs import Form

SPLITS = ("train", "val", "test")
ARRAYS = tuple(f"{split}_{array}" for split in SPLITS for array in ("x", "y", "ids"))

Names = dict[str, list[str]]
"""Part or split → names of its pairs, in order."""


@dataclass(frozen=True)
class Kind:
    """A data set of pairs.

    Attributes:
        source: where a person gets it. cut: official parts → our splits.
    """

    form: Form
    version: int
    source: str
    cut: Callable[[Form, Names], Names]

    @property
    def shelf(self) -> stored.Shelf:
        """Where its arrays lie."""
        return stored.Shelf(self.form.name, self.version, ARRAYS)


def fetch(kind: Kind, root: Path, from_dir: Path | None) -> None:
    """Read a person's copy, and put it under the root in one step.

    Raises:
        UserError: no folder is given, or what is in it is not the set.
    """
    if from_dir is None:
        raise by_hand(kind.form.name, kind.source, kind.form.accepted)
    check_folder(from_dir, kind.form.accepted)
    stored.put(kind.shelf, root, partial(_fill, kind, from_dir))


def _fill(kind: Kind, source: Path, folder: Path) -> dict[str, object]:
    form = kind.form
    parts = pairs.find(source, form)
    splits = kind.cut(form, parts)
    for split, names in splits.items():
        ids = np.array([pairs.identity(form, name) for name in names], dtype=np.int64)
        np.save(folder / f"{split}_ids.npy", ids, allow_pickle=False)
    return {
        "source": str(source),
        "files": maps.write(source, form, splits, folder),
        "lossy": False,
        "note": _note(parts, form.parts),
        "counts": {split: len(names) for split, names in splits.items()},
    }


def _note(parts: Names, published: Mapping[str, int]) -> str:
    """How what was read differs from what was published, or nothing."""
    if all(len(names) == published[part] for part, names in parts.items()):
        return ""
    counts = (
        f"{len(parts[part]):,} of {count:,} {part} images" for part, count in published.items()
    )
    return f"not the whole published set: {', '.join(counts)}"


def load(kind: Kind, root: Path) -> Splits:
    """The fetched arrays, memory-mapped, checked against their manifest."""
    form, found = kind.form, stored.load(kind.shelf, root)
    train, val, test = (
        Split(
            x=found[f"{split}_x"],
            y=found[f"{split}_y"],
            ids=found[f"{split}_ids"].astype(np.int64, copy=False),
        )
        for split in SPLITS
    )
    shape = (3, form.stored[1], form.stored[0])
    spec = picture_spec("segmentation", tuple(form.classes), shape, pairs.VOID)
    return Splits(spec=spec, train=train, val=val, test=test)


def dataset(kind: Kind, card: Card, sizes: tuple[int, int, int]) -> Dataset:
    """The row of the table of data sets; ``sizes`` of train, val and test, as published."""
    width, height = kind.form.stored
    return Dataset(
        name=kind.form.name,
        task="segmentation",
        version=kind.version,
        card=card,
        facts=Facts(*sizes, len(kind.form.classes), (3, height, width)),
        load=partial(load, kind),
        bundled=False,
        fetch=partial(fetch, kind),
    )
