"""Source of a segmentation set: read from a folder of the user, loaded memory-mapped.

Their terms forbid redistribution, so there is no download. Pixels without class are ``pairs.VOID``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from harness.datasets import cache
from harness.datasets.base import (
    Card,
    Dataset,
    Facts,
    Split,
    Splits,
    check_folder,
    image_spec,
    manual_download_error,
)
from harness.datasets.findings import inspect_arrays
from harness.datasets.remarks import Remarks, join_notes
from harness.datasets.segmentation import pair_writer, pairs
from harness.datasets.segmentation.pairs import PairLayout

SPLITS = ("train", "val", "test")
ARRAYS = tuple(f"{split}_{array}" for split in SPLITS for array in ("x", "y", "ids"))

Names = dict[str, list[str]]
"""Official part or split → names of its pairs, in order."""


@dataclass(frozen=True)
class SegmentationSource:
    """A data set of images and class maps.

    Attributes:
        layout: names and content of its files.
        version: of the reader; raised when it returns other arrays than before.
        origin: where users get it, for messages.
        split_parts: maps the names in official parts to splits.
    """

    layout: PairLayout
    version: int
    origin: str
    split_parts: Callable[[PairLayout, Names], Names]

    @property
    def cache_entry(self) -> cache.CacheEntry:
        """Cache entry of the arrays."""
        return cache.CacheEntry(self.layout.name, self.version, ARRAYS)


def fetch(source: SegmentationSource, root: Path, from_dir: Path | None) -> None:
    """Read a data set from a folder, and write it to the cache in one step.

    Raises:
        UserError: no folder is given, or the folder does not hold the data set.
    """
    if from_dir is None:
        raise manual_download_error(source.layout.name, source.origin, source.layout.accepted)
    check_folder(from_dir, source.layout.accepted)
    cache.write_entry(source.cache_entry, root, partial(_write_arrays, source, from_dir))


def _write_arrays(source: SegmentationSource, from_dir: Path, out: Path) -> dict[str, object]:
    layout = source.layout
    parts = pairs.find_pairs(from_dir, layout)
    splits = source.split_parts(layout, parts)
    for split, names in splits.items():
        ids = np.array([pairs.pair_id(layout, name) for name in names], dtype=np.int64)
        np.save(out / f"{split}_ids.npy", ids, allow_pickle=False)
    remarks = Remarks()
    remarks.say(_missing_note(parts, layout.parts))
    files = pair_writer.write_pairs(from_dir, layout, splits, out, remarks)
    findings, sentences = inspect_arrays(out, splits, tuple(layout.classes))
    return {
        "source": str(from_dir),
        "files": files,
        "lossy": False,
        "note": join_notes(remarks.note(), *sentences),
        **findings,
        "counts": {split: len(names) for split, names in splits.items()},
    }


def _missing_note(parts: Names, published: Mapping[str, int]) -> str:
    """Describe what is missing of the published set; empty if it is complete."""
    if all(len(names) == published[part] for part, names in parts.items()):
        return ""
    counts = (
        f"{len(parts[part]):,} of {count:,} {part} images" for part, count in published.items()
    )
    return f"not the whole published set: {', '.join(counts)}"


def load(source: SegmentationSource, root: Path) -> Splits:
    """Load the fetched arrays as memory maps, checked against their manifest."""
    layout, arrays = source.layout, cache.load_arrays(source.cache_entry, root)
    train, val, test = (
        Split(
            x=arrays[f"{split}_x"],
            y=arrays[f"{split}_y"],
            ids=arrays[f"{split}_ids"].astype(np.int64, copy=False),
        )
        for split in SPLITS
    )
    shape = (3, layout.stored_size[1], layout.stored_size[0])
    spec = image_spec("segmentation", tuple(layout.classes), shape, pairs.VOID)
    return Splits(spec=spec, train=train, val=val, test=test)


def make_dataset(source: SegmentationSource, card: Card, sizes: tuple[int, int, int]) -> Dataset:
    """Make the row of the table of data sets.

    Args:
        source: how the data set is fetched and loaded.
        card: data card.
        sizes: number of training, validation and test images, as published.
    """
    width, height = source.layout.stored_size
    return Dataset(
        name=source.layout.name,
        task="segmentation",
        version=source.version,
        card=card,
        facts=Facts(*sizes, len(source.layout.classes), (3, height, width)),
        load=partial(load, source),
        bundled=False,
        fetch=partial(fetch, source),
    )
