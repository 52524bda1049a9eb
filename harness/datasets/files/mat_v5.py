"""Parser of MATLAB files of version 5 to 7: arrays of numbers, texts, and cells of both.

Written here because scipy's, in C, ends the process on some damaged files: of 300 files with one to
four false bytes, one was enough.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from harness.datasets.base import Array

LARGEST = 1 << 30
"""Limit of one unpacked variable in bytes."""
_HEADER = 128
_START = 4096
"""Packed bytes that certainly have a variable's name."""

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8",
            13: "u8"}  # fmt: skip
"""Type of an element → dtype without its byte order."""
_TEXTS = {1: "latin-1", 2: "latin-1", 3: "utf-16", 4: "utf-16", 16: "utf-8", 17: "utf-16",
          18: "utf-32"}  # fmt: skip
_MATRIX, _COMPRESSED, _CELL, _CHAR, _COMPLEX = 14, 15, 1, 4, 0x800
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8",
            15: "u8"}  # fmt: skip
"""Class of an array → its dtype, which may be wider than that of its element."""


class MatError(ValueError):
    """Damage of a file, or something in it that is not read; the text is the reason."""


@dataclass(frozen=True)
class _Element:
    """Piece of a file: number of its type, and content."""

    kind: int
    data: memoryview


def parse_mat(blob: bytes, names: Collection[str]) -> dict[str, Array]:
    """Return the wanted variables of a file: numbers, texts (``str``) or cells (``object``).

    A text of several rows is an array of them. Cells hold arrays of numbers or texts.

    Args:
        blob: content of the file.
        names: names of the variables; those that it lacks are left out.

    Raises:
        MatError: it is damaged, or a variable is of another class.
    """
    order = {b"IM": "<", b"MI": ">"}.get(blob[126:128])
    if order is None or len(blob) < _HEADER:
        raise MatError("no header of version 5 to 7")
    found: dict[str, Array] = {}
    try:
        for element in _elements(memoryview(blob)[_HEADER:], order):
            matrix = element
            if element.kind == _COMPRESSED:
                start = _unpack(element.data[:_START], _START, partly=True)
                if _name(memoryview(start)[8:], order) not in names:
                    continue
                unpacked = memoryview(_unpack(element.data, LARGEST))
                matrix = next(_elements(unpacked, order), element)
            if matrix.kind != _MATRIX:
                continue
            name = _name(matrix.data, order)
            if name in names:
                found[name] = _array(matrix.data, order, cells=True)
    except (ValueError, struct.error, zlib.error, OverflowError, MemoryError) as error:
        raise MatError(str(error) or type(error).__name__) from error
    return found


def _elements(data: memoryview, order: str) -> Iterator[_Element]:
    """Yield the elements that follow each other, each padded to eight bytes."""
    place = 0
    while place < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        start, end = place + 8, place + 8 + size
        if kind >> 16:  # up to four bytes, beside the type
            kind, size = kind & 0xFFFF, kind >> 16
            start, end = place + 4, place + 4 + size
            if size > 4:
                raise MatError("an element is longer than its place")
            place += 8
        else:
            place = end if kind == _COMPRESSED else end + -size % 8
        if end > len(data):
            raise MatError("it ends within an element")
        yield _Element(kind, data[start:end])


def _unpack(data: memoryview, largest: int, *, partly: bool = False) -> bytes:
    """Return compressed bytes unpacked, up to ``largest``."""
    packed = zlib.decompressobj()
    found = packed.decompress(data, largest)
    if not partly and not packed.eof:
        raise MatError("a variable is cut or larger than 1 GiB")
    return found


def _name(data: memoryview, order: str) -> str:
    """Return the name of a variable, which is after its flags and its size."""
    parts = _elements(data, order)
    for _ in range(2):
        next(parts, None)
    found = next(parts, None)
    return bytes(found.data).decode("latin-1") if found is not None else ""


def _array(data: memoryview, order: str, *, cells: bool) -> Array:
    """Return the content of a matrix.

    Args:
        data: its elements: flags, size, name, and content.
        order: byte order.
        cells: whether it may be a cell array: cells hold none.
    """
    parts = list(_elements(data, order))
    if not data:
        return np.zeros((0, 0))
    if len(parts) < 3 or len(parts[0].data) != 8:
        raise MatError("a variable has no flags, size or name")
    flags = struct.unpack_from(f"{order}I", parts[0].data)[0]
    size = tuple(np.frombuffer(parts[1].data, f"{order}i4").tolist())
    if len(size) < 2 or min(size) < 0:
        raise MatError(f"a variable is of size {size}")
    kind, content = flags & 0xFF, parts[3:]
    if kind == _CELL and cells:
        return _cells(content, size, order)
    if kind == _CHAR:
        return _text(content, size, order)
    if kind in _CLASSES and not flags & _COMPLEX:
        numbers = _numbers(content, order).astype(_CLASSES[kind], copy=False)
        if len(numbers) != prod(size):
            raise MatError(f"{len(numbers):,} numbers of {prod(size):,} are there")
        return numbers.reshape(size, order="F")
    raise MatError("a variable holds more than real numbers, texts, or cells of them")


def _numbers(content: list[_Element], order: str) -> Array:
    """Return the numbers of a matrix, by column."""
    if not content:
        return np.zeros(0)
    dtype = _NUMBERS.get(content[0].kind)
    data = content[0].data
    if dtype is None or len(data) % int(dtype[1]):
        raise MatError("its numbers are damaged")
    return np.frombuffer(data, f"{order}{dtype}")


def _text(content: list[_Element], size: tuple[int, ...], order: str) -> Array:
    """Return the rows of a text, without trailing blanks."""
    if not content or not prod(size):
        return np.array([""])
    encoding = _TEXTS.get(content[0].kind)
    if encoding is None or len(size) > 2:
        raise MatError("its text is damaged")
    wide = encoding in ("utf-16", "utf-32")
    codec = f"{encoding}-{'le' if order == '<' else 'be'}" if wide else encoding
    text = bytes(content[0].data).decode(codec)
    if len(text) != prod(size):
        raise MatError(f"{len(text):,} characters of {prod(size):,} are there")
    return np.array([text[row :: size[0]].rstrip() for row in range(size[0])])


def _cells(content: list[_Element], size: tuple[int, ...], order: str) -> Array:
    """Return the arrays of a cell array."""
    if len(content) != prod(size) or any(cell.kind != _MATRIX for cell in content):
        raise MatError(f"{len(content):,} cells of {prod(size):,} are there")
    found = np.empty(len(content), dtype=object)
    for number, cell in enumerate(content):
        found[number] = _array(cell.data, order, cells=False)
    return found.reshape(size, order="F")
