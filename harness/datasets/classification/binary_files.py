"""Readers of published binary files: the batches of CIFAR-10 and the IDX files of Fashion-MNIST.

A reader takes a folder and returns ``None`` if its layout is not there. If the layout is there but
broken, the reader raises a ``UserError`` that names the file.
"""

from __future__ import annotations

import gzip
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from harness.common.errors import UserError
from harness.datasets.archives import BROKEN, refuse_link, unreadable_error
from harness.datasets.cache import file_sha256
from harness.datasets.classification.layouts import LARGEST_SET, ImageSet, ImageSetLayout, Pixels

_BATCHES, _BATCHES_ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
_IDX_FILES = {
    "train_x": "train-images-idx3-ubyte",
    "train_y": "train-labels-idx1-ubyte",
    "test_x": "t10k-images-idx3-ubyte",
    "test_y": "t10k-labels-idx1-ubyte",
}


def read_cifar_batches(folder: Path, layout: ImageSetLayout) -> ImageSet | None:
    """Read CIFAR-10 as torchvision stores it: ``cifar-10-batches-py/`` or the original archive."""
    archive = folder / _BATCHES_ARCHIVE
    if (folder / _BATCHES).is_dir():
        files = {
            str(path.relative_to(folder)): file_sha256(path)
            for path in sorted((folder / _BATCHES).glob("*_batch*"))
        }
        return _read_batches(folder, files)
    if not archive.is_file():
        return None
    # Nothing is ever extracted outside a temporary folder.
    with tempfile.TemporaryDirectory() as scratch:
        _extract(archive, Path(scratch))
        return _read_batches(Path(scratch), {archive.name: file_sha256(archive)})


def _read_batches(folder: Path, files: dict[str, str]) -> ImageSet:
    from torchvision.datasets import CIFAR10

    # Torchvision unpickles only files whose MD5 it knows.
    try:
        train, test = CIFAR10(folder, train=True), CIFAR10(folder, train=False)
    except RuntimeError as error:
        raise UserError(
            str(folder / _BATCHES),
            "a file is missing, or its MD5 is not the published one",
            "give the folder of a complete download",
        ) from error
    return ImageSet(
        train_x=np.ascontiguousarray(train.data.transpose(0, 3, 1, 2)),
        train_y=np.array(train.targets, dtype=np.int64),
        test_x=np.ascontiguousarray(test.data.transpose(0, 3, 1, 2)),
        test_y=np.array(test.targets, dtype=np.int64),
        files=files,
    )


def _extract(archive: Path, target: Path) -> None:
    """Unpack the regular files of an archive; the filter refuses names outside the target."""
    try:
        with tarfile.open(archive) as tar:
            members = [member for member in tar if member.isreg()]
            if sum(member.size for member in members) > LARGEST_SET:
                raise UserError(str(archive), "unpacks to over 1 GiB", "give the original file")
            tar.extractall(target, members=members, filter="data")
    except BROKEN as error:
        raise unreadable_error(archive, error) from error


def read_idx_files(folder: Path, layout: ImageSetLayout) -> ImageSet | None:
    """Read the IDX files of Fashion-MNIST, here or in ``FashionMNIST/raw``, plain or gzipped."""
    paths = {key: _find_idx(folder, name) for key, name in _IDX_FILES.items()}
    if not any(paths.values()):
        return None
    for key, path in paths.items():
        if path is None:
            what = f"has no {_IDX_FILES[key]} (.gz)"
            raise UserError(str(folder), what, "put the missing file beside the others")
    present = {key: path for key, path in paths.items() if path is not None}
    arrays = {key: _read_idx(path) for key, path in present.items()}
    for part in ("train", "test"):
        _check_idx(present[f"{part}_x"], arrays[f"{part}_x"], arrays[f"{part}_y"], layout)
    return ImageSet(
        train_x=arrays["train_x"][:, np.newaxis],
        train_y=arrays["train_y"].astype(np.int64),
        test_x=arrays["test_x"][:, np.newaxis],
        test_y=arrays["test_y"].astype(np.int64),
        files={str(path.relative_to(folder)): file_sha256(path) for path in present.values()},
    )


def _find_idx(folder: Path, name: str) -> Path | None:
    for place in (folder, folder / "FashionMNIST" / "raw"):
        for path in (place / f"{name}.gz", place / name):
            if path.is_file():
                refuse_link(path)
                return path
    return None


def _read_idx(path: Path) -> Pixels:
    """Read an IDX file of bytes.

    The file holds 0, 0, 8 and the number of dimensions, each length as big-endian uint32, the data.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(LARGEST_SET)
    except BROKEN as error:
        raise unreadable_error(path, error) from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise UserError(str(path), "is not an IDX file of bytes", "give the original file")
    start = 4 + 4 * raw[3]
    shape = tuple(np.frombuffer(raw[4:start], dtype=">u4").tolist())
    data = np.frombuffer(raw, dtype=np.uint8, offset=min(start, len(raw)))
    if len(shape) != raw[3] or len(data) != int(np.prod(shape, dtype=object)):
        what = f"says that it holds {shape} bytes, but {len(data):,} are there"
        fix = "give the original file: this one is truncated or damaged"
        raise UserError(str(path), what, fix)
    return data.reshape(shape)


def _check_idx(path: Path, images: Pixels, labels: Pixels, layout: ImageSetLayout) -> None:
    """Check that images and labels belong together and to the layout."""
    if images.ndim != 3 or images.shape[1:] != (layout.side, layout.side) or labels.ndim != 1:
        what = f"images have shape {images.shape}, labels {labels.shape}"
    elif len(images) != len(labels) or not len(images):
        what = f"{len(images):,} images, but {len(labels):,} labels"
    elif labels.max() >= len(layout.classes):
        what = f"label {labels.max()} of {len(layout.classes)} classes"
    else:
        return
    raise UserError(str(path), what, "give image and label files that belong together")
