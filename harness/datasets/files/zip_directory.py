"""Directory at the end of a zip archive, read entry by entry.

``zipfile`` holds the whole directory: of a million entries 560 MB, here none. The layout is that of
PKWARE's APPNOTE 6.3.10, sections 4.3.12 to 4.3.16, with ZIP64.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from harness.datasets.files.archive_members import DamagedError

_ENTRY = struct.Struct("<4s4B4H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_MOST_COMMENT = 0xFFFF
_EVERY_BIT = 0xFFFFFFFF
"""Value of a field whose number is in the ZIP64 extra field instead."""
_ZIP64 = 1
"""Tag of that extra field."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Entry of the directory.

    Attributes:
        name: bytes of the name.
        system: number of the system that it was made on; 3 is Unix.
        flags: general purpose bits.
        method: number of the compression.
        crc: CRC-32 of the content.
        packed: bytes in the archive.
        size: bytes of the content.
        attributes: of the file, in the form of ``system``.
        offset: where its local header begins, from the begin of the archive.
    """

    name: bytes
    system: int
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    attributes: int
    offset: int


def read_entries(file: BinaryIO) -> Iterator[Entry]:
    """Yield the entries of the directory, in its order.

    Args:
        file: the archive; between entries its position must be left as it is.

    Raises:
        DamagedError: it is no zip archive, or is cut, split into parts, or inconsistent.
    """
    count, size, offset, end = _find_directory(file)
    shift = end - size - offset  # what a self-extracting archive has in front
    if shift < 0:
        raise DamagedError("its directory is not where it should be: the archive is cut")
    file.seek(end - size)
    found = 0
    while file.tell() < end:
        yield _read_entry(file, shift)
        found += 1
    # without ZIP64, some writers count modulo 65,536
    if file.tell() != end or (found - count) % (1 << 16):
        raise DamagedError(f"its directory holds {found:,} entries, not {count:,}")


def _find_directory(file: BinaryIO) -> tuple[int, int, int, int]:
    """Return the number of entries, and size, declared offset and true end of the directory."""
    length = file.seek(0, os.SEEK_END)
    begin = max(0, length - _END.size - _MOST_COMMENT)
    file.seek(begin)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(tail):
        raise DamagedError("it is no zip archive, or its end is missing")
    _, disk, first_disk, _, count, size, offset, _ = _END.unpack_from(tail, at)
    end = begin + at
    file.seek(max(0, end - _LOCATOR.size))
    locator = file.read(_LOCATOR.size)
    if end >= _LOCATOR.size + _END_64.size and locator[:4] == b"PK\6\7":
        end -= _LOCATOR.size + _END_64.size
        file.seek(end)
        fields = _END_64.unpack(file.read(_END_64.size))
        if fields[0] != b"PK\6\6":
            raise DamagedError("its ZIP64 end is not where it should be")
        _, _, _, _, disk, first_disk, _, count, size, offset = fields
    if disk or first_disk:
        raise DamagedError("it is one part of a split archive")
    return count, size, offset, end


def _read_entry(file: BinaryIO, shift: int) -> Entry:
    head = file.read(_ENTRY.size)
    if len(head) < _ENTRY.size or head[:4] != b"PK\1\2":
        raise DamagedError("its directory is damaged")
    (_, _, system, _, _, flags, method, _, _, crc, packed, size, name_length, extra_length,
     comment_length, _, _, attributes, offset) = _ENTRY.unpack(head)  # fmt: skip
    name, extra = file.read(name_length), file.read(extra_length)
    file.seek(comment_length, os.SEEK_CUR)
    if _EVERY_BIT in (size, packed, offset):
        size, packed, offset = _wide_numbers(extra, (size, packed, offset))
    return Entry(name, system, flags, method, crc, packed, size, attributes, offset + shift)


def _wide_numbers(extra: bytes, narrow: tuple[int, int, int]) -> tuple[int, ...]:
    """Return size, packed size and offset; those of 64 bits are in the ZIP64 extra field."""
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, at)
        at += 4
        if tag == _ZIP64:
            missing = sum(number == _EVERY_BIT for number in narrow)
            if length < 8 * missing or at + 8 * missing > len(extra):
                break
            wide = iter(struct.unpack_from(f"<{missing}Q", extra, at))
            return tuple(next(wide) if number == _EVERY_BIT else number for number in narrow)
        at += length
    raise DamagedError("its directory lacks a ZIP64 field")
