"""Sources of CIFAR-10 and Fashion-MNIST, made for a test."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import struct
from collections.abc import Callable

import numpy as np
from PIL import Image

from harness.datasets.base import Splits
from harness.datasets.hashing import draws, name_ids
from tests.support.sources import description, parts


def arrays_digest(splits: Splits) -> str:
    digest = hashlib.sha256(json.dumps(splits.spec, sort_keys=True).encode())
    for split in parts(splits).values():
        for array in (split.x, split.y, split.ids):
            digest.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def assert_disjoint(splits: Splits) -> None:
    ids = np.concatenate([split.ids for split in parts(splits).values()])
    assert ids.dtype == np.int64
    assert len(np.unique(ids)) == len(ids)


SMALL = {"train": 20, "test": 10}
"""Images of the sources made here; every class has the same number."""


def pixels(name: str, part: str, row: int) -> np.ndarray:
    """An image that is like no other, flat in each quarter so that JPEG keeps it roughly."""
    side, channels = (32, 3) if name == "cifar10" else (28, 1)
    values = (draws(f"{name}/{part}/{row}", 4 * channels) * 256).astype(np.uint8)
    blocks = values.reshape(2, 2, channels)
    return np.kron(blocks, np.ones((side // 2, side // 2, 1), dtype=np.uint8))


def encoded(name: str, part: str, row: int, suffix: str) -> bytes:
    array = pixels(name, part, row)
    buffer = io.BytesIO()
    image = Image.fromarray(array if array.shape[2] == 3 else array[:, :, 0])
    image.save(buffer, "PNG" if suffix == "png" else "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def image_files(name: str, suffix: str, label=str) -> dict[str, bytes]:
    """Member name → bytes of a class-folder layout; row r has class r modulo 10."""
    return {
        f"{part}/{label(row % 10)}/{row:04d}.{suffix}": encoded(name, part, row, suffix)
        for part, count in SMALL.items()
        for row in range(count)
    }


def idx_bytes(array: np.ndarray) -> bytes:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def idx_files(name: str = "fashion-mnist") -> dict[str, bytes]:
    """The four files of MNIST or Fashion-MNIST, gzipped."""
    stacks = {
        part: np.stack([pixels(name, part, row)[:, :, 0] for row in range(count)])
        for part, count in SMALL.items()
    }
    arrays = {
        "train-images-idx3-ubyte": stacks["train"],
        "train-labels-idx1-ubyte": np.arange(20) % 10,
        "t10k-images-idx3-ubyte": stacks["test"],
        "t10k-labels-idx1-ubyte": np.arange(10),
    }
    return {f"{file}.gz": gzip.compress(idx_bytes(array)) for file, array in arrays.items()}


def cifar_batches() -> dict[str, bytes]:
    """Torchvision's form of CIFAR-10, four images a batch."""
    files = {}
    for batch in range(5):
        rows = range(4 * batch, 4 * batch + 4)
        flat = [pixels("cifar10", "train", row).transpose(2, 0, 1).ravel() for row in rows]
        entry = {"data": np.stack(flat), "labels": [row % 10 for row in rows]}
        files[f"cifar-10-batches-py/data_batch_{batch + 1}"] = pickle.dumps(entry)
    flat = [pixels("cifar10", "test", row).transpose(2, 0, 1).ravel() for row in range(10)]
    entry = {"data": np.stack(flat), "labels": list(range(10))}
    files["cifar-10-batches-py/test_batch"] = pickle.dumps(entry)
    names = {"label_names": list(description("cifar10").classes)}
    files["cifar-10-batches-py/batches.meta"] = pickle.dumps(names)
    return files


def md5(blob: bytes) -> str:
    return hashlib.md5(blob, usedforsecurity=False).hexdigest()


def assert_true_to_source(
    name: str, splits: Splits, key: Callable[[str, int], str], *, tolerance: int = 0
) -> None:
    """Every image is the one that was made, with its label; of two of a class, one is validation.

    Args:
        name: of the data set.
        splits: as they were loaded.
        key: returns the name of an example, which its id is made from, by its split and row.
        tolerance: of its values.
    """
    assert_disjoint(splits)
    assert [len(split.ids) for split in parts(splits).values()] == [10, 10, 10]
    made = [(part, row) for part, count in SMALL.items() for row in range(count)]
    place = dict(zip(name_ids(name, (key(*one) for one in made)).tolist(), made, strict=True))
    for part, split in parts(splits).items():
        assert sorted(split.y.tolist()) == [*range(10)]
        for x, y, identity in zip(split.x, split.y, split.ids.tolist(), strict=True):
            source, row = place.pop(identity)
            assert (source == "test") == (part == "test")
            assert y == row % 10
            expected = pixels(name, source, row).transpose(2, 0, 1)
            assert np.abs(x.astype(int) - expected).max() <= tolerance
    assert place == {}
