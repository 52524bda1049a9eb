"""Source of an image classification set: downloaded by torchvision, or read from a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.datasets import cache
from harness.datasets.base import (
    Card,
    Dataset,
    Facts,
    Ids,
    Split,
    Splits,
    check_folder,
    image_spec,
    wrap_download_errors,
)
from harness.datasets.classification.layouts import ImageSet, ImageSetLayout
from harness.datasets.findings import inspect_arrays
from harness.datasets.hashing import hash_order
from harness.datasets.remarks import join_notes

VAL_SHARE = 0.1
FIRST_TEST_ID = 1_000_000
"""First id of the test split: test ids do not depend on the number of training images."""
ARRAYS = ("train_x", "train_y", "test_x", "test_y")


@dataclass(frozen=True)
class TorchvisionSource:
    """A data set that torchvision can download.

    Attributes:
        layout: classes and image size.
        version: of the readers; raised when they return other arrays than before.
        torchvision: name of the class in ``torchvision.datasets``.
        readers: readers of all accepted layouts; the first that returns images counts.
        accepted: description of the accepted layouts for messages.
    """

    layout: ImageSetLayout
    version: int
    torchvision: str
    readers: tuple[Callable[[Path, ImageSetLayout], ImageSet | None], ...]
    accepted: str

    @property
    def cache_entry(self) -> cache.CacheEntry:
        """Cache entry of the arrays."""
        return cache.CacheEntry(self.layout.name, self.version, ARRAYS)


def fetch(source: TorchvisionSource, root: Path, from_dir: Path | None) -> None:
    """Read a data set from a folder, or download it, and write it to the cache in one step."""
    cache.write_entry(source.cache_entry, root, partial(_write_arrays, source, from_dir))


def _write_arrays(source: TorchvisionSource, from_dir: Path | None, out: Path) -> dict[str, object]:
    if from_dir is None:
        with tempfile.TemporaryDirectory(dir=out) as scratch:
            _download(source, Path(scratch))
            images = _read_images(source, Path(scratch))
    else:
        images = _read_images(source, from_dir)
    for array in ARRAYS:
        np.save(out / f"{array}.npy", getattr(images, array), allow_pickle=False)
    findings, sentences = inspect_arrays(out, images.names, source.layout.classes)
    return {
        "source": "torchvision download" if from_dir is None else str(from_dir),
        "files": images.files,
        "lossy": images.lossy,
        "note": join_notes(images.note, *sentences),
        **findings,
        "counts": {"train": len(images.train_y), "test": len(images.test_y)},
    }


def _download(source: TorchvisionSource, folder: Path) -> None:
    import torchvision.datasets

    with wrap_download_errors(source.layout.name):
        getattr(torchvision.datasets, source.torchvision)(folder, download=True)


def _read_images(source: TorchvisionSource, folder: Path) -> ImageSet:
    name = source.layout.name
    check_folder(folder, source.accepted)
    try:
        for reader in source.readers:
            images = reader(folder, source.layout)
            if images is not None:
                return images
    except OSError as error:
        raise UserError(str(folder), f"cannot be read ({error})", "check permissions") from error
    fix = f"give a folder with {source.accepted}"
    raise UserError(str(folder), f"nothing in it is {name}", fix)


def load(source: TorchvisionSource, root: Path) -> Splits:
    """Load the fetched arrays, checked against their manifest; a tenth of train is validation."""
    layout, arrays = source.layout, cache.load_arrays(source.cache_entry, root)
    ids: Ids = np.arange(len(arrays["train_y"]), dtype=np.int64)
    order = hash_order(ids, f"{layout.name}/val")
    val, train = np.split(order, [round(VAL_SHARE * len(ids))])

    def part(rows: NDArray[np.intp]) -> Split:
        rows = np.sort(rows)
        return Split(x=arrays["train_x"][rows], y=arrays["train_y"][rows], ids=ids[rows])

    test_ids: Ids = FIRST_TEST_ID + np.arange(len(arrays["test_y"]), dtype=np.int64)
    shape = (layout.channels, layout.side, layout.side)
    spec = image_spec("classification", layout.classes, shape)
    test = Split(x=arrays["test_x"], y=arrays["test_y"], ids=test_ids)
    return Splits(spec=spec, train=part(train), val=part(val), test=test)


def make_dataset(source: TorchvisionSource, card: Card, sizes: tuple[int, int, int]) -> Dataset:
    """Make the row of the table of data sets.

    Args:
        source: how the data set is fetched and loaded.
        card: data card.
        sizes: number of training, validation and test examples, as published.
    """
    layout = source.layout
    return Dataset(
        name=layout.name,
        task="classification",
        version=source.version,
        card=card,
        facts=Facts(*sizes, len(layout.classes), (layout.channels, layout.side, layout.side)),
        load=partial(load, source),
        bundled=False,
        fetch=partial(fetch, source),
    )
