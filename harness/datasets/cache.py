"""Cache of fetched data sets: plain arrays and ``manifest.json`` in ``<data root>/<name>/``.

Loading needs neither torchvision nor Pillow, unpickles nothing, and verifies every array first.
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
from harness.datasets.base import Array, DataMissing, missing_data_error

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class CacheEntry:
    """Folder of one fetched data set in the data root.

    Attributes:
        name: of the folder.
        version: of the reader that made the arrays.
        arrays: names of the arrays.
    """

    name: str
    version: int
    arrays: tuple[str, ...]


def write_entry(
    entry: CacheEntry, root: Path, write_arrays: Callable[[Path], Mapping[str, object]]
) -> None:
    """Write an entry in a new folder that then replaces the old one; a failure keeps the old one.

    Args:
        entry: the entry to write.
        root: data root.
        write_arrays: writes ``<array>.npy`` for every array into the given folder, and returns
            further fields of the manifest.

    Raises:
        UserError: the root is not writable; also all errors of ``write_arrays``.
    """
    name = entry.name
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=f".{name}-") as scratch:
            ready = Path(scratch) / "ready"
            ready.mkdir()
            facts = write_arrays(ready)
            _write_manifest(entry, ready, facts)
            if (root / name).exists():
                (root / name).rename(Path(scratch) / "replaced")
            ready.rename(root / name)
    except OSError as error:
        raise UserError(
            str(root / name), f"cannot be written ({error})", "check free space and permissions"
        ) from error


@contextmanager
def open_row_writer(
    path: Path, shape: tuple[int, ...]
) -> Iterator[Callable[[int, NDArray[np.uint8]], None]]:
    """Open a uint8 ``.npy`` file for writing row by row, in any order, in little memory.

    No memory map: on a full disk, a map ends in a signal, this writer in an ``OSError``.
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


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_manifest(entry: CacheEntry, folder: Path, facts: Mapping[str, object]) -> None:
    arrays = {array: file_sha256(folder / f"{array}.npy") for array in entry.arrays}
    manifest = {
        "name": entry.name,
        "version": entry.version,
        **facts,
        "arrays": arrays,
        "sha256": _digest(arrays),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _digest(arrays: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(arrays, sort_keys=True).encode()).hexdigest()


def recorded_digest(entry: CacheEntry, root: Path) -> str:
    """Return the digest of an entry's arrays from its manifest.

    Raises:
        DataMissing: there is no such entry, or its manifest is damaged or of another version.
    """
    return _digest(_recorded_arrays(entry, root))


def recorded_note(entry: CacheEntry, root: Path) -> str:
    """Return the note of an entry from its manifest; empty where there is no whole manifest."""
    try:
        _recorded_arrays(entry, root)
        manifest = json.loads((root / entry.name / MANIFEST).read_text(encoding="utf-8"))
    except DataMissing:
        return ""
    return str(manifest.get("note", ""))


def _recorded_arrays(entry: CacheEntry, root: Path) -> dict[str, str]:
    """Return the digest of each array from the manifest."""
    name = entry.name
    path = root / name / MANIFEST
    if not path.is_file():
        raise missing_data_error(name, f"is not in {root}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version, recorded = manifest["version"], manifest["arrays"]
        arrays = {array: str(recorded[array]) for array in entry.arrays}
        whole = manifest["sha256"] == _digest(arrays)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise missing_data_error(name, f"{path} is damaged ({error!r})") from error
    if not whole:
        raise missing_data_error(name, f"{path} was changed after the fetch")
    if version != entry.version:
        what = f"{path} has version {version}, this is version {entry.version}"
        raise missing_data_error(name, what)
    return arrays


def load_arrays(entry: CacheEntry, root: Path) -> dict[str, Array]:
    """Load every array as a read-only memory map, after checking its bytes against the manifest.

    Raises:
        DataMissing: there is no such entry, or it was changed after the fetch.
    """
    arrays: dict[str, Array] = {}
    for array, digest in _recorded_arrays(entry, root).items():
        path = root / entry.name / f"{array}.npy"
        if not path.is_file() or file_sha256(path) != digest:
            what = f"{path} is missing or was changed after the fetch"
            raise missing_data_error(entry.name, what)
        arrays[array] = load_array(path)
    return arrays
