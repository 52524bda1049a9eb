"""Files of a data source that a layout gives by name, in the folder or in its archives."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection
from dataclasses import dataclass

from harness.common.errors import UserError
from harness.config.dataset_fields import Layout, Part
from harness.config.dataset_layouts import ArrayPair
from harness.datasets.examples import Source
from harness.datasets.files.source_files import SourceFile, find_files
from harness.datasets.stored import file_sha256
from harness.datasets.templates import Templates

LARGEST = 1 << 30
"""Limit of a file's bytes, also unpacked, where it is read into memory."""
PACKED = ".gz"


@dataclass(frozen=True)
class FilePair:
    """Files of one split.

    Attributes:
        x: file of the inputs.
        y: file of the labels.
    """

    x: SourceFile
    y: SourceFile


def find_named(
    source: Source, layout: Layout, names: Collection[str], *, largest: int = LARGEST
) -> dict[str, SourceFile]:
    """Return the files of these names that are in a source, by name; each may end in ``.gz``.

    Names are matched in any case, below the folders of ``below``. Of a file and the packed form of
    it, the packed one is read: downloads leave both. Otherwise two files of one name are a mistake.

    Args:
        source: the source.
        layout: the layout.
        names: names of files below the source.
        largest: limit of a file's size in bytes.
    """
    around = Templates((), layout)
    wanted = {name.lower(): name for name in names}

    def known(name: str) -> str | None:
        return wanted.get(around.strip(name).lower().removesuffix(PACKED))

    found: dict[str, SourceFile] = {}
    for file in find_files(source.folder, None, known, largest, source.mistakes):
        name = known(file.name)
        assert name is not None  # find_files yields wanted names only
        other = found.get(name)
        if other is not None and is_packed(other) == is_packed(file):
            what = f"is also {other.where}"
            source.mistakes.add(UserError(file.where, what, "leave one of them"))
        elif other is None or is_packed(file):
            found[name] = file
    return found


def find_pairs(
    source: Source, layout: Layout, pairs: dict[Part, ArrayPair], *, largest: int = LARGEST
) -> dict[Part, FilePair]:
    """Return the files of each split that is in a source; one file without the other is a mistake.

    Args:
        source: the source.
        layout: the layout.
        pairs: split → names of its files.
        largest: limit of a file's size in bytes.
    """
    names = {name for one in pairs.values() for name in (one.x, one.y)}
    found = find_named(source, layout, names, largest=largest)
    complete: dict[Part, FilePair] = {}
    for part, pair in pairs.items():
        match [name for name in (pair.x, pair.y) if name not in found]:
            case []:
                complete[part] = FilePair(found[pair.x], found[pair.y])
            case [missing]:
                there = found[pair.x if missing == pair.y else pair.y]
                fix = "put the missing file beside it"
                what = f"is there without {missing}"
                source.mistakes.add(UserError(there.where, what, fix))
    return complete


def is_packed(file: SourceFile) -> bool:
    """Return whether a file is gzipped, by its name."""
    return file.name.lower().endswith(PACKED)


def read_named(file: SourceFile) -> bytes:
    """Return the bytes of a file, unpacked.

    Raises:
        UserError: it is unreadable, not whole, or larger than 1 GiB unpacked.
    """
    blob = file.read()
    if not is_packed(file):
        return blob
    try:
        unpacked = _gunzip(blob)
    except zlib.error as error:
        what = f"cannot be read ({error})"
        raise UserError(file.where, what, "give a whole, readable file") from error
    if len(unpacked) > LARGEST:
        raise UserError(file.where, f"unpacks to over {LARGEST:,} bytes", "give smaller files")
    return unpacked


def _gunzip(blob: bytes) -> bytes:
    """Unpack gzip members, up to a byte over the limit.

    Raises:
        zlib.error: damage, or the end is missing.
    """
    unpacked = bytearray()
    rest = blob
    while True:
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        unpacked += member.decompress(rest, LARGEST + 1 - len(unpacked))
        if len(unpacked) > LARGEST:
            return bytes(unpacked)
        if not member.eof:
            raise zlib.error("the file ends too early")
        rest = member.unused_data.lstrip(b"\0")
        if not rest:
            return bytes(unpacked)


def digest_of(source: Source, *files: SourceFile) -> dict[str, str]:
    """Return the name of each file, or of the archive that it is in, with its SHA-256."""
    digests: dict[str, str] = {}
    for file in files:
        if file.archive is not None:
            digests[file.archive.name] = file_sha256(file.archive)
        else:
            digests[file.name] = hashlib.sha256(file.read()).hexdigest()
    return digests
