"""Reader of untrusted NumPy files: ``.npy`` and members of ``.npz``, never unpickled."""

from __future__ import annotations

import io
import math
import mmap
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.common.text import error_reason, suggest
from harness.datasets.files.gzipped import is_packed, read_unpacked
from harness.datasets.files.source_files import SourceFile

LARGEST = 1 << 33
"""Limit of an array in bytes."""
MAGIC = b"\x93NUMPY"
PICKLE = b"\x80"
"""First byte of a pickle of protocol 2 or later."""
_DAMAGE = (ValueError, OSError, EOFError, KeyError, NotImplementedError, RuntimeError,
           SyntaxError, TypeError, RecursionError, MemoryError, zlib.error, tokenize.TokenError,
           zipfile.BadZipFile)  # fmt: skip
"""What NumPy and zipfile raise for damaged files; RuntimeError: an encrypted member."""


def read_npy(file: SourceFile) -> NDArray[Any]:
    """Return the array of an ``.npy`` file, as a memory map where it lies in the folder.

    Raises:
        UserError: it is no whole array of numbers.
    """
    if isinstance(file.content, Path) and not is_packed(file):
        with _one_line(file.where), file.content.open("rb") as stream:
            return _map(stream, file.where)
    blob = read_unpacked(file)
    with _one_line(file.where):
        return _map_copy(io.BytesIO(blob), file.where)


def read_npz(file: SourceFile, keys: list[str]) -> dict[str, NDArray[Any]]:
    """Return arrays of an ``.npz`` archive, as memory maps of temporary files without a name.

    Args:
        file: the archive.
        keys: of the wanted arrays; those that it does not have are left out.

    Raises:
        UserError: it is no whole archive, or an array is not one of numbers.
    """
    with _one_line(file.where):
        content = file.content if isinstance(file.content, Path) else io.BytesIO(file.content)
        with zipfile.ZipFile(content) as archive:
            names = {name.removesuffix(".npy"): name for name in archive.namelist()}
            arrays = {}
            for key in keys:
                if key not in names:
                    continue
                where = f"{file.where}: {key}"
                with archive.open(names[key]) as member:
                    arrays[key] = _map_copy(member, where)
            if not arrays:
                fix = suggest(keys[0], list(names), "its keys are")
                raise UserError(file.where, f"has no {' and no '.join(keys)}", fix)
    return arrays


@contextmanager
def _one_line(where: str) -> Iterator[None]:
    """Turn what damage raises into a ``UserError`` of one line."""
    try:
        yield
    except _DAMAGE as error:
        what = f"is not a whole NumPy file ({error_reason(error)})"
        raise UserError(where, what, "write it anew with numpy.save or numpy.savez") from error


def _map_copy(stream: IO[bytes], where: str) -> NDArray[Any]:
    """Map a copy of a stream in a temporary file, which goes with its last map."""
    with tempfile.TemporaryFile() as copy:
        while block := stream.read(1 << 20):
            copy.write(block)
            if copy.tell() > LARGEST:
                what = f"unpacks to over {LARGEST:,} bytes"
                raise UserError(where, what, "give smaller arrays")
        copy.seek(0)
        return _map(copy, where)


def _map(stream: IO[bytes], where: str) -> NDArray[Any]:
    """Map the array in an open file; refuse what NumPy would unpickle."""
    first = stream.read(len(MAGIC))
    if first.startswith(PICKLE):
        raise _pickled(where)
    if first != MAGIC:
        what = "is not a NumPy file" if first else "is empty"
        raise UserError(where, what, "write it with numpy.save")
    stream.seek(0)
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version[0]}.{version[1]}")
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise _pickled(where)
    if dtype.kind not in "biuf":
        raise UserError(where, f"holds values of type {dtype}", "give an array of numbers")
    start = stream.tell()
    wanted, there = math.prod(shape) * dtype.itemsize, stream.seek(0, io.SEEK_END) - start
    if wanted != there:
        what = f"says that it holds {wanted:,} bytes, but {there:,} are there"
        raise UserError(where, what, "give the whole file: this one is truncated or damaged")
    if not wanted:
        return np.empty(shape, dtype)
    order: Literal["F", "C"] = "F" if fortran else "C"
    whole = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(whole, dtype, offset=start).reshape(shape, order=order)


def _pickled(where: str) -> UserError:
    what = "holds a pickle, which would run its author's code"
    return UserError(where, what, "save plain numbers, with allow_pickle=False")
