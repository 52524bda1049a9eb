"""Archives made for a test: zip files, and ones whose bytes lie."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

from tests.support.sources import Files, write_tar

DEFLATED = zipfile.ZIP_DEFLATED
ENTRY, HEADER = b"PK\1\2", b"PK\3\4"
"""Signatures of an entry of the directory and of a member's own header."""
FIELDS = {"system": (5, "B"), "flags": (8, "H"), "method": (10, "H"), "crc": (16, "L"),
          "packed": (20, "L"), "size": (24, "L"), "disk": (34, "H"), "attributes": (38, "L"),
          "offset": (42, "L")}  # fmt: skip
"""Field of an entry → its place in it, and form."""


def write_archive(path: Path, files: Files) -> Path:
    """Write a tar or a zip file, by the suffix."""
    return write_zip(path, files) if path.suffix == ".zip" else write_tar(path, files)


def write_zip(path: Path, files: Files, method: int = DEFLATED) -> Path:
    """Write a zip file; a name of lone surrogates is written as the bytes that it stands for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    odd = [name for name in files if _stand_in(name) != name]
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, blob in files.items():
            archive.writestr(zipfile.ZipInfo(_stand_in(name)), blob, method)
    for name in odd:
        true = name.encode("utf-8", "surrogateescape")
        path.write_bytes(path.read_bytes().replace(_stand_in(name).encode(), true))
    return path


def _stand_in(name: str) -> str:
    return "".join("?" if 0xDC80 <= ord(letter) <= 0xDCFF else letter for letter in name)


def change_entry(path: Path, number: int, **values: int) -> None:
    """Overwrite fields of an entry in the directory."""
    blob = bytearray(path.read_bytes())
    at = -1
    for _ in range(number + 1):
        at = blob.index(ENTRY, at + 1)
    for field, value in values.items():
        place, form = FIELDS[field]
        struct.pack_into(f"<{form}", blob, at + place, value)
    path.write_bytes(bytes(blob))
