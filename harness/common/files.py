"""Arrays and JSON on disk, for the host side, which never imports torch."""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Rows = NDArray[np.intp]

PART_BYTES = 1 << 23
"""Bytes of an array that are in memory at once while it is copied."""


def save_array(path: Path, array: Array) -> None:
    """Save an array as ``.npy`` without pickles; make missing parent folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def load_array(path: Path) -> Array:
    """Memory-map a ``.npy`` for reading; refuse pickles and, unlike ``np.load``, archives."""
    array: Array = np.lib.format.open_memmap(path, mode="r")
    return array


def read_parts(array: Array, rows: Rows | None = None) -> Iterator[Array]:
    """Yield an array in parts of about ``PART_BYTES``, in order.

    A mapped file does not pile up in memory: the pages of a part are given back after it.

    Args:
        array: array ``[N, …]``, in memory or mapped for reading.
        rows: row numbers to yield, in this order; ``None`` for all.
    """
    count = len(array) if rows is None else len(rows)
    step = max(1, PART_BYTES // max(1, math.prod(array.shape[1:]) * array.itemsize))
    for start in range(0, count, step):
        part = slice(start, start + step)
        yield array[part] if rows is None else array[rows[part]]
        if isinstance(array, np.memmap) and array.mode == "r":
            mapped: mmap.mmap = array._mmap  # type: ignore[attr-defined]
            mapped.madvise(mmap.MADV_DONTNEED)


def save_parts(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], parts: Iterable[Array]
) -> None:
    """Save parts of an array, in order, as one ``.npy``; the bytes are those of ``save_array``.

    Args:
        path: file to write; missing parent folders are made.
        shape: shape of the whole array.
        dtype: type of its values.
        parts: consecutive rows, together ``shape``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descr = np.lib.format.dtype_to_descr(dtype)
    with path.open("wb") as file:  # no map: on a full disk, writing to one ends in a signal
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype).data)


def store_rows(path: Path, array: Array, root: Path, rows: Rows | None = None) -> None:
    """Store an array, or some of its rows, in little memory and, where possible, no space.

    An array that is a whole mapped file below ``root`` becomes a hard link to it.

    Args:
        path: file to make; missing parent folders are made.
        array: array ``[N, …]``, in memory or mapped for reading.
        root: folder of the harness's own files, which nothing writes to in place.
        rows: row numbers to store, in this order; ``None`` for all.
    """
    if rows is None and link_array(path, array, root):
        return
    count = len(array) if rows is None else len(rows)
    save_parts(path, (count, *array.shape[1:]), array.dtype, read_parts(array, rows))


def link_array(path: Path, array: Array, root: Path) -> bool:
    """Give the file that an array is mapped from a second name; the file becomes read-only.

    Both names are of one file, so that a change through either would be one of both.

    Returns:
        False where there is no such file: the array is in memory, is a part of a file, or its file
        is elsewhere than below ``root``, of another owner or on another file system.
    """
    source = getattr(array, "filename", None)
    if source is None or not Path(source).is_relative_to(root.resolve()):
        return False
    whole = load_array(Path(source))
    same = (array.shape, array.dtype, array.strides) == (whole.shape, whole.dtype, whole.strides)
    if not (same and whole.flags.c_contiguous):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.chmod(source, 0o444)
        os.link(source, path, follow_symlinks=False)
    except OSError:
        return False
    return True


def write_json(path: Path, value: object) -> None:
    """Write readable JSON with sorted keys, whole or not at all; refuse NaN and infinities."""
    write_text(path, json.dumps(value, allow_nan=False, sort_keys=True, indent=1))


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


def read_json(path: Path) -> Any:  # noqa: ANN401
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def remove_tree(path: Path) -> None:
    """Remove a file, a link or a folder, however deep, as far as it can be removed.

    ``shutil.rmtree`` recurses before Python 3.13, and a path may be longer than the system takes.
    So each folder is moved up, right into ``path``, before it is read. A process that is killed
    in between leaves nothing outside ``path``.
    """
    with contextlib.suppress(OSError):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
            return
        unique, pending = uuid.uuid4().hex, [path]
        for folder in pending:  # the loop appends to it
            folder.chmod(0o700)
            with os.scandir(folder) as found:
                entries = list(found)
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path / f"{unique}~{len(pending)}")
                    os.rename(entry.path, pending[-1])
                else:
                    os.unlink(entry.path)
            if folder != path:
                folder.rmdir()
        path.rmdir()
