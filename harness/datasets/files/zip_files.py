"""Members of a zip archive: what the directory says is checked against the member itself."""

from __future__ import annotations

import bz2
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from harness.datasets.files.archive_members import DamagedError, Member, MemberError, Refusal
from harness.datasets.files.zip_directory import Entry, read_entries

_HEADER = struct.Struct("<4s5H3L2H")
_ENCRYPTED, _PATCHED = 1 << 0, 1 << 5
_UNIX = frozenset({3, 19})
"""Systems (Unix, macOS) whose attributes hold the mode of a file in their upper half."""
_WINDOWS = frozenset({0, 10, 11, 14})
"""Systems on which some packers write backslashes for slashes."""
_AES = 99

_Unpack = Callable[[bytes, int], tuple[bytes, bool]]
"""Packed bytes and limit → at most so many bytes, and whether the stream ended there."""


def _store(blob: bytes, _limit: int) -> tuple[bytes, bool]:
    return blob, True


def _inflate(blob: bytes, limit: int) -> tuple[bytes, bool]:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    return stream.decompress(blob, limit), stream.eof


def _unpack_bzip2(blob: bytes, limit: int) -> tuple[bytes, bool]:
    stream = bz2.BZ2Decompressor()
    return stream.decompress(blob, limit), stream.eof


_METHODS: dict[int, _Unpack] = {0: _store, 8: _inflate, 12: _unpack_bzip2}
_UNREAD = {1: "Shrink", 6: "Implode", 9: "Deflate64", 14: "LZMA", 93: "Zstandard", 95: "XZ",
           98: "PPMd"}  # fmt: skip
"""Methods that are named and refused."""


def zip_members(archive: Path) -> Iterator[Member]:
    """Yield the members of a zip archive, in the order of its directory.

    Raises:
        DamagedError: the archive is broken, or its members overlap, as those of a zip bomb do.
    """
    with archive.open("rb") as directory, archive.open("rb") as file:
        left = archive.stat().st_size
        for entry in read_entries(directory):
            left -= _HEADER.size + len(entry.name) + entry.packed
            if left < 0:
                raise DamagedError("its members overlap, or have more bytes than the archive")
            name = _name(entry)
            folder = name.endswith("/")
            yield Member(name, entry.size, folder, _refusal(entry), partial(_read, file, entry))


def _name(entry: Entry) -> str:
    """Return the name of an entry; bytes that are not UTF-8 become lone surrogates, as in tar."""
    name = entry.name.decode("utf-8", "surrogateescape")
    return name.replace("\\", "/") if entry.system in _WINDOWS else name


def _refusal(entry: Entry) -> Refusal | None:
    kind = stat.S_IFMT(entry.attributes >> 16) if entry.system in _UNIX else 0
    if kind == stat.S_IFLNK:
        return "is a link", "pack the files themselves (zip without -y)"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is not a file", "pack files alone"
    if entry.flags & _ENCRYPTED or entry.method == _AES:
        return "is encrypted", "pack it without a password"
    if entry.method not in _METHODS or entry.flags & _PATCHED:
        method = _UNREAD.get(entry.method, f"method {entry.method}")
        return f"is packed by {method}", "pack it by Deflate, as zip does"
    return None


def _read(file: BinaryIO, entry: Entry) -> bytes:
    """Unpack a member; never to more than its declared size.

    Raises:
        MemberError: it is damaged, or is not what the directory says.
    """
    file.seek(entry.offset)
    head = file.read(_HEADER.size)
    if len(head) < _HEADER.size or head[:4] != b"PK\3\4":
        raise MemberError("there is no member where the directory says")
    *_, name_length, extra_length = _HEADER.unpack(head)
    if file.read(name_length) != entry.name:
        raise MemberError("it has another name in the directory")
    file.seek(extra_length, 1)
    packed = file.read(min(entry.packed, _most_packed(entry.size)) + 1)[: entry.packed]
    try:
        blob, ended = _METHODS[entry.method](packed, entry.size + 1)
    except (zlib.error, OSError, EOFError) as error:
        raise MemberError(str(error)) from error
    if len(blob) > entry.size:
        raise MemberError(f"it unpacks to more than the {entry.size:,} bytes that it declares")
    if not ended or len(blob) < entry.size:
        raise MemberError("it is cut")
    if zlib.crc32(blob) != entry.crc:
        raise MemberError("its checksum differs")
    return blob


def _most_packed(size: int) -> int:
    """Return a size that no honest packer exceeds; what cannot shrink grows a little."""
    return size + size // 64 + (1 << 16)
