"""Where fetched data sets lie: plain arrays and ``manifest.json`` in ``<data root>/<name>/``.

Loading needs neither torchvision nor Pillow, unpickles nothing, and checks every array first.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.common.files import load_array
from harness.datasets.base import Array, missing

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Shelf:
    """The place of one data set: its name and version, and the names of its arrays."""

    name: str
    version: int
    arrays: tuple[str, ...]


def put(shelf: Shelf, root: Path, fill: Callable[[Path], Mapping[str, object]]) -> None:
    """Fill a new folder, and put it in the place of the old one; a failure leaves the old one.

    Args:
        fill: writes ``<array>.npy`` for every array into the folder that it is given, and answers
            what else the manifest has to say.

    Raises:
        UserError: nothing can be written under the root; and whatever ``fill`` raises.
    """
    name = shelf.name
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=f".{name}-") as scratch:
            ready = Path(scratch) / "ready"
            ready.mkdir()
            facts = fill(ready)
            _seal(shelf, ready, facts)
            if (root / name).exists():
                (root / name).rename(Path(scratch) / "replaced")
            ready.rename(root / name)
    except OSError as error:
        raise UserError(
            str(root / name), f"cannot be written ({error})", "check free space and permissions"
        ) from error


@contextmanager
def rows(path: Path, shape: tuple[int, ...]) -> Iterator[Callable[[int, NDArray[np.uint8]], None]]:
    """Write a uint8 ``.npy`` row by row, in any order, without ever holding it in memory.

    No memory map: where the disk is full that is killed by a signal, and this is an ``OSError``.
    """
    size = math.prod(shape[1:])
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()

        def write(row: int, pixels: NDArray[np.uint8]) -> None:
            assert pixels.shape == shape[1:]
            file.seek(start + row * size)
            file.write(pixels.tobytes())

        yield write


def sha256_of(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(shelf: Shelf, folder: Path, facts: Mapping[str, object]) -> None:
    arrays = {array: sha256_of(folder / f"{array}.npy") for array in shelf.arrays}
    manifest = {
        "name": shelf.name,
        "version": shelf.version,
        **facts,
        "arrays": arrays,
        "sha256": _digest(arrays),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _digest(arrays: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(arrays, sort_keys=True).encode()).hexdigest()


def recorded_digest(shelf: Shelf, root: Path) -> str:
    """The digest of the arrays that were fetched, as their manifest has it.

    Raises:
        DataMissing: nothing was fetched, or the manifest is not of this version or not whole.
    """
    return _digest(_recorded_arrays(shelf, root))


def _recorded_arrays(shelf: Shelf, root: Path) -> dict[str, str]:
    name = shelf.name
    path = root / name / MANIFEST
    if not path.is_file():
        raise missing(name, f"is not in {root}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version, recorded = manifest["version"], manifest["arrays"]
        arrays = {array: str(recorded[array]) for array in shelf.arrays}
        whole = manifest["sha256"] == _digest(arrays)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise missing(name, f"{path} is damaged ({error!r})") from error
    if not whole:
        raise missing(name, f"{path} was changed after the fetch")
    if version != shelf.version:
        raise missing(name, f"{path} has version {version}, this is version {shelf.version}")
    return arrays


def load(shelf: Shelf, root: Path) -> dict[str, Array]:
    """Every array, memory-mapped for reading, after its bytes were checked against the manifest.

    Raises:
        DataMissing: nothing was fetched, or it was changed since.
    """
    found: dict[str, Array] = {}
    for array, digest in _recorded_arrays(shelf, root).items():
        path = root / shelf.name / f"{array}.npy"
        if not path.is_file() or sha256_of(path) != digest:
            raise missing(shelf.name, f"{path} is missing or was changed after the fetch")
        found[array] = load_array(path)
    return found
