"""CIFAR-10 and Fashion-MNIST: downloaded by torchvision, or read from a person's folder.

Whatever they came from, they are kept as four plain arrays and ``manifest.json`` under
``<data root>/<name>/``; loading needs neither torchvision nor Pillow, and unpickles nothing.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.datasets import layouts
from harness.datasets.base import Card, Dataset, Ids, Split, Splits, hash_order, missing
from harness.datasets.layouts import Form, Found, sha256_of
from harness.errors import UserError

VAL_SHARE = 0.1
FIRST_TEST_ID = 1_000_000
"""So that a test image keeps its id however many training images there are."""
ARRAYS = ("train_x", "train_y", "test_x", "test_y")
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Kind:
    """A data set that torchvision can download: what it must look like, and how people hold it."""

    form: Form
    version: int
    torchvision: str
    readers: tuple[Callable[[Path, Form], Found | None], ...]
    accepted: str


def fetch(kind: Kind, root: Path, from_dir: Path | None) -> None:
    """Read or download the set, and put it under the root in one step."""
    name = kind.form.name
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=f".{name}-") as scratch:
            source = from_dir
            if source is None:
                source = Path(scratch) / "download"
                _download(kind, source)
            found = _read(kind, source)
            ready = Path(scratch) / "ready"
            origin = "torchvision download" if from_dir is None else str(from_dir)
            _write(ready, kind, found, origin)
            if (root / name).exists():
                (root / name).rename(Path(scratch) / "replaced")
            ready.rename(root / name)
    except OSError as error:
        raise UserError(
            str(root / name), f"cannot be written ({error})", "check free space and permissions"
        ) from error


def _download(kind: Kind, folder: Path) -> None:
    import torchvision.datasets

    name = kind.form.name
    try:
        getattr(torchvision.datasets, kind.torchvision)(folder, download=True)
    # RuntimeError: the MD5 is wrong, or no mirror answered. URLError is an OSError.
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"data set {name}",
            f"the download failed ({reason})",
            f"try again, or read a copy with `gauntlet data fetch {name} --from DIR`",
        ) from error


def _read(kind: Kind, folder: Path) -> Found:
    if not folder.is_dir():
        raise UserError(str(folder), "is not a folder", f"give a folder with {kind.accepted}")
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


def _write(folder: Path, kind: Kind, found: Found, origin: str) -> None:
    folder.mkdir()
    for array in ARRAYS:
        np.save(folder / f"{array}.npy", getattr(found, array), allow_pickle=False)
    arrays = {array: sha256_of(folder / f"{array}.npy") for array in ARRAYS}
    manifest = {
        "name": kind.form.name,
        "version": kind.version,
        "source": origin,
        "files": found.files,
        "lossy": found.lossy,
        "note": found.note,
        "counts": {"train": len(found.train_y), "test": len(found.test_y)},
        "arrays": arrays,
        "sha256": _digest(arrays),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _digest(arrays: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(arrays, sort_keys=True).encode()).hexdigest()


def recorded_digest(kind: Kind, root: Path) -> str:
    """The digest of the arrays that were fetched, as their manifest has it."""
    return _digest(_recorded_arrays(kind, root))


def _recorded_arrays(kind: Kind, root: Path) -> dict[str, str]:
    name = kind.form.name
    path = root / name / MANIFEST
    if not path.is_file():
        raise missing(name, f"is not in {root}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version, recorded = manifest["version"], manifest["arrays"]
        arrays = {array: str(recorded[array]) for array in ARRAYS}
        whole = manifest["sha256"] == _digest(arrays)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise missing(name, f"{path} is damaged ({error!r})") from error
    if not whole:
        raise missing(name, f"{path} was changed after the fetch")
    if version != kind.version:
        raise missing(name, f"{path} has version {version}, this is version {kind.version}")
    return arrays


def load(kind: Kind, root: Path) -> Splits:
    """The fetched arrays, checked against their manifest; a tenth of train is validation."""
    form, folder = kind.form, root / kind.form.name
    found: dict[str, NDArray[np.generic]] = {}
    for array, digest in _recorded_arrays(kind, root).items():
        path = folder / f"{array}.npy"
        if not path.is_file() or sha256_of(path) != digest:
            raise missing(form.name, f"{path} is missing or was changed after the fetch")
        found[array] = np.load(path, allow_pickle=False)
    ids: Ids = np.arange(len(found["train_y"]), dtype=np.int64)
    order = hash_order(ids, f"{form.name}/val")
    val, train = np.split(order, [round(VAL_SHARE * len(ids))])

    def part(rows: NDArray[np.intp]) -> Split:
        rows = np.sort(rows)
        return Split(x=found["train_x"][rows], y=found["train_y"][rows], ids=ids[rows])

    test_ids: Ids = FIRST_TEST_ID + np.arange(len(found["test_y"]), dtype=np.int64)
    spec: dict[str, object] = {
        "task": "classification",
        "outputs": len(form.classes),
        "shape": [form.channels, form.side, form.side],
        "items": None,
        "arity": None,
        "void": None,
        "classes": list(form.classes),
    }
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


def _dataset(kind: Kind, card: Card) -> Dataset:
    return Dataset(
        name=kind.form.name,
        task="classification",
        version=kind.version,
        card=card,
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
    ),
)
