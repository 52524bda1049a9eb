"""CIFAR-10 and Fashion-MNIST: downloaded by torchvision, or read from a person's folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.datasets import stored
from harness.datasets.base import (
    Card,
    Dataset,
    Facts,
    Ids,
    Split,
    Splits,
    check_folder,
    downloading,
    hash_order,
    picture_spec,
)
from harness.datasets.classification import layouts
from harness.datasets.classification.layouts import Form, Found

VAL_SHARE = 0.1
FIRST_TEST_ID = 1_000_000
"""So that a test image keeps its id however many training images there are."""
ARRAYS = ("train_x", "train_y", "test_x", "test_y")


@dataclass(frozen=True)
class Kind:
    """A data set that torchvision can download: what it must look like, and how people hold it."""

    form: Form
    version: int
    torchvision: str
    readers: tuple[Callable[[Path, Form], Found | None], ...]
    accepted: str

    @property
    def shelf(self) -> stored.Shelf:
        """Where its arrays lie."""
        return stored.Shelf(self.form.name, self.version, ARRAYS)


def fetch(kind: Kind, root: Path, from_dir: Path | None) -> None:
    """Read or download the set, and put it under the root in one step."""
    stored.put(kind.shelf, root, partial(_fill, kind, from_dir))


def _fill(kind: Kind, from_dir: Path | None, folder: Path) -> dict[str, object]:
    if from_dir is None:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            _download(kind, Path(scratch))
            found = _read(kind, Path(scratch))
    else:
        found = _read(kind, from_dir)
    for array in ARRAYS:
        np.save(folder / f"{array}.npy", getattr(found, array), allow_pickle=False)
    return {
        "source": "torchvision download" if from_dir is None else str(from_dir),
        "files": found.files,
        "lossy": found.lossy,
        "note": found.note,
        "counts": {"train": len(found.train_y), "test": len(found.test_y)},
    }


def _download(kind: Kind, folder: Path) -> None:
    import torchvision.datasets

    with downloading(kind.form.name):
        getattr(torchvision.datasets, kind.torchvision)(folder, download=True)


def _read(kind: Kind, folder: Path) -> Found:
    check_folder(folder, kind.accepted)
    try:
        for reader in kind.readers:
            found = reader(folder, kind.form)
            if found is not None:
                return found
    except OSError as error:
        raise UserError(str(folder), f"cannot be read ({error})", "check permissions") from error
    raise UserError(
        str(folder), f"nothing in it is {kind.form.name}", f"give a folder with {kind.accepted}"
    )


def load(kind: Kind, root: Path) -> Splits:
    """The fetched arrays, checked against their manifest; a tenth of train is validation."""
    form, found = kind.form, stored.load(kind.shelf, root)
    ids: Ids = np.arange(len(found["train_y"]), dtype=np.int64)
    order = hash_order(ids, f"{form.name}/val")
    val, train = np.split(order, [round(VAL_SHARE * len(ids))])

    def part(rows: NDArray[np.intp]) -> Split:
        rows = np.sort(rows)
        return Split(x=found["train_x"][rows], y=found["train_y"][rows], ids=ids[rows])

    test_ids: Ids = FIRST_TEST_ID + np.arange(len(found["test_y"]), dtype=np.int64)
    shape = (form.channels, form.side, form.side)
    spec = picture_spec("classification", form.classes, shape)
    test = Split(x=found["test_x"], y=found["test_y"], ids=test_ids)
    return Splits(spec=spec, train=part(train), val=part(val), test=test)


_FOLDERS = "train/<class>/*.png or *.jpg and test/<class>/… (also inside .tar.* archives)"

CIFAR10 = Kind(
    form=Form(
        name="cifar10",
        classes=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        channels=3,
        side=32,
    ),
    version=1,
    torchvision="CIFAR10",
    readers=(layouts.batches, layouts.class_folders),
    accepted=f"cifar-10-batches-py/, cifar-10-python.tar.gz, or {_FOLDERS}",
)
FASHION_MNIST = Kind(
    form=Form(
        name="fashion-mnist",
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        channels=1,
        side=28,
    ),
    version=1,
    torchvision="FashionMNIST",
    readers=(layouts.idx, layouts.class_folders),
    accepted=f"the four IDX files (.gz), FashionMNIST/raw/, or {_FOLDERS}",
)
KINDS = {kind.form.name: kind for kind in (CIFAR10, FASHION_MNIST)}
SHELVES = tuple(kind.shelf for kind in KINDS.values())


def _dataset(kind: Kind, card: Card, sizes: tuple[int, int, int]) -> Dataset:
    form = kind.form
    return Dataset(
        name=kind.form.name,
        task="classification",
        version=kind.version,
        card=card,
        facts=Facts(*sizes, len(form.classes), (form.channels, form.side, form.side)),
        load=partial(load, kind),
        bundled=False,
        fetch=partial(fetch, kind),
    )


DATASETS = (
    _dataset(
        CIFAR10,
        Card(
            title="CIFAR-10",
            licence="none stated by its authors; they ask to be cited",
            citation=(
                "A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images. "
                "Technical report, University of Toronto, 2009."
            ),
            source="https://www.cs.toronto.edu/~kriz/cifar.html, downloaded by torchvision",
            size="45,000 train, 5,000 validation, 10,000 test; 32x32 RGB, 10 classes",
            note="Copies in JPEG are lossy; manifest.json says what was read.",
        ),
        (45_000, 5_000, 10_000),
    ),
    _dataset(
        FASHION_MNIST,
        Card(
            title="Fashion-MNIST",
            licence="MIT",
            citation=(
                "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a Novel Image Dataset for "
                "Benchmarking Machine Learning Algorithms. arXiv:1708.07747, 2017."
            ),
            source="https://github.com/zalandoresearch/fashion-mnist, downloaded by torchvision",
            size="54,000 train, 6,000 validation, 10,000 test; 28x28 grey, 10 classes",
        ),
        (54_000, 6_000, 10_000),
    ),
)
