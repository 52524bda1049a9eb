"""Files of a source that may be gzipped: opened or read as what they hold."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import BinaryIO

from harness.common.errors import UserError
from harness.datasets.files.archives import unreadable_error
from harness.datasets.files.source_files import SourceFile

LARGEST = 1 << 30
"""Limit of a file in bytes, unpacked: the training images of CIFAR-10 as CSV have half of it."""
PACKED = ".gz"


def is_packed(file: SourceFile) -> bool:
    """Return whether a file is gzipped, by its name."""
    return file.name.lower().endswith(PACKED)


def open_unpacked(file: SourceFile) -> BinaryIO:
    """Open a file; one that is not packed is not read into memory.

    Raises:
        UserError: it is unreadable, not whole, or larger than 1 GiB unpacked.
    """
    if isinstance(file.content, bytes) or is_packed(file):
        return io.BytesIO(read_unpacked(file))
    try:
        return file.content.open("rb")
    except OSError as error:
        raise unreadable_error(file.content, error) from error


def read_unpacked(file: SourceFile) -> bytes:
    """Return the bytes of a file, unpacked.

    Raises:
        UserError: it is unreadable, not whole, or larger than 1 GiB unpacked.
    """
    blob = file.read()
    if not is_packed(file):
        return blob
    try:
        with gzip.open(io.BytesIO(blob)) as packed:
            unpacked = packed.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable_error(Path(file.where), error) from error
    if len(unpacked) > LARGEST:
        raise UserError(file.where, f"unpacks to over {LARGEST:,} bytes", "give smaller files")
    return unpacked
