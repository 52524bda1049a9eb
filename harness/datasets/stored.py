"""Stored data sets: plain arrays and ``manifest.json`` in ``<data root>/<name>/``.

What is stored describes itself: loading needs neither the source, nor the data set's YAML file,
nor torchvision or Pillow. It unpickles nothing, and verifies every array first.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from harness.common.errors import UserError
from harness.common.files import load_array
from harness.common.keys import file_digest
from harness.config.dataset_fields import PARTS
from harness.datasets.base import Array, Split, Splits, missing_data_error

MANIFEST = "manifest.json"
VERSION = 2
"""Version of the form of a stored set."""
OPTIONAL = ("groups", "boxes")
"""Arrays of a split that not every set has."""

StoredFacts = Mapping[str, Any]
"""Content of a stored set's ``manifest.json``."""


def write_entry(name: str, root: Path, write_arrays: Callable[[Path], StoredFacts]) -> None:
    """Write a set in a new folder that then replaces the old one; a failure keeps the old one.

    Args:
        name: of the set, and its folder.
        root: data root.
        write_arrays: writes ``<array>.npy`` for every array into the given folder, and returns
            further fields of the manifest, among them ``spec``.

    Raises:
        UserError: the root is not writable; also all errors of ``write_arrays``.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=f".{name}-") as scratch:
            ready = Path(scratch) / "ready"
            ready.mkdir()
            facts = write_arrays(ready)
            _write_manifest(name, ready, facts)
            if (root / name).exists():
                (root / name).rename(Path(scratch) / "replaced")
            ready.rename(root / name)
    except OSError as error:
        raise UserError(
            str(root / name), f"cannot be written ({error})", "check free space and permissions"
        ) from error


@contextmanager
def open_row_writer(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike = np.uint8
) -> Iterator[Callable[[int, NDArray[Any]], None]]:
    """Open an ``.npy`` file for writing row by row, in any order, in little memory.

    No memory map: on a full disk, a map ends in a signal, this writer in an ``OSError``.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape[1:]) * kind.itemsize
    with path.open("wb") as file:
        header = {
            "descr": np.lib.format.dtype_to_descr(kind),
            "fortran_order": False,
            "shape": shape,
        }
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        file.truncate(start + shape[0] * size)

        def write(row: int, values: NDArray[Any]) -> None:
            assert values.shape == shape[1:]
            file.seek(start + row * size)
            file.write(values.astype(kind, copy=False).tobytes())

        yield write


def read_rows(path: Path) -> Iterator[bytes]:
    """Yield the bytes of each row of an ``.npy`` file; of a map, all that was read would stay."""
    array = load_array(path)
    size = array.dtype.itemsize * math.prod(array.shape[1:])
    with path.open("rb") as file:
        file.seek(-size * len(array), os.SEEK_END)
        for _ in range(len(array)):
            yield file.read(size)


def _write_manifest(name: str, folder: Path, facts: StoredFacts) -> None:
    arrays = {path.stem: file_digest(path) for path in sorted(folder.glob("*.npy"))}
    manifest = {"name": name, "version": VERSION, **facts, "arrays": arrays}
    manifest["sha256"] = _digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _digest(facts: StoredFacts) -> str:
    """Return the digest of what decides the splits: the arrays and their description."""
    content = [facts.get("spec"), facts["arrays"]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def key_digest(reading: str, arrays: str) -> str:
    """Return the digest of a set for stage keys, from those of its description and its arrays."""
    return hashlib.sha256(json.dumps([reading, arrays]).encode()).hexdigest()


def check_unreplaced(name: str, root: Path, digest: str) -> None:
    """Check that a set is the one that a key was made of.

    Raises:
        UserError: it was fetched again since.
    """
    facts = read_facts(name, root)
    if key_digest(facts["reading"], facts["sha256"]) != digest:
        what = "was replaced after the plan was made"
        raise UserError(f"data set {name}", what, "start the command again")


def read_facts(name: str, root: Path) -> dict[str, Any]:
    """Return the ``manifest.json`` of a stored set.

    Raises:
        DataMissing: there is no such set, or its manifest is damaged or of another version.
    """
    path = root / name / MANIFEST
    if not path.is_file():
        raise missing_data_error(name, f"is not in {root}")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        whole = facts["version"] != VERSION or facts["sha256"] == _digest(facts)
        version = facts["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise missing_data_error(name, f"{path} is damaged ({error!r})") from error
    if version != VERSION:
        what = f"{path} has version {version}, this is version {VERSION}"
        raise missing_data_error(name, what)
    if not whole or not isinstance(facts, dict):
        raise missing_data_error(name, f"{path} was changed after the fetch")
    return facts


def load(name: str, root: Path) -> Splits:
    """Load a set as read-only memory maps, after checking their bytes against the manifest.

    Raises:
        DataMissing: there is no such set, or it was changed after the fetch.
    """
    facts = read_facts(name, root)
    train, val, test = (_load_split(name, root, facts, part) for part in PARTS)
    return Splits(spec=facts["spec"], train=train, val=val, test=test)


def _load_split(name: str, root: Path, facts: StoredFacts, part: str) -> Split:
    x, y, ids = (load_checked(name, root, facts, f"{part}_{key}") for key in ("x", "y", "ids"))
    more = {
        key: load_checked(name, root, facts, f"{part}_{key}").astype(np.int64, copy=False)
        for key in OPTIONAL
        if f"{part}_{key}" in facts["arrays"]
    }
    return Split(x=x, y=y, ids=ids.astype(np.int64, copy=False), **more)


def load_checked(name: str, root: Path, facts: StoredFacts, array: str) -> Array:
    """Load one array as a memory map, after checking its bytes.

    Raises:
        DataMissing: it is not there, or was changed after the fetch.
    """
    path = root / name / f"{array}.npy"
    digests = facts["arrays"]
    if array not in digests or not path.is_file() or file_digest(path) != digests[array]:
        what = f"{path} is missing or was changed after the fetch"
        raise missing_data_error(name, what)
    return load_array(path)
