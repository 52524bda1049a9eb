"""Members of a tar archive, compressed or not, read as a stream."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Self

from harness.common.text import one_line
from harness.datasets.files.archive_members import Member, Refusal

LARGEST_HEADER = 1 << 20
"""Limit of a long name or an extended header in bytes: tarfile holds it in memory."""
_LONG = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
         tarfile.GNUTYPE_LONGLINK)  # fmt: skip


class _StrictHeader(tarfile.TarInfo):
    """Header whose damage is an error: else tarfile takes it for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Parse a header.

        Raises:
            tarfile.HeaderError: it is damaged, or an extended header is too large.
        """
        header = super().frombuf(buf, encoding, errors)
        if header.type in _LONG and header.size > LARGEST_HEADER:
            raise tarfile.HeaderError(f"a header of {header.size:,} bytes")
        return header

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        """Read the next header.

        Raises:
            tarfile.EOFHeaderError: the archive ends here, as it should.
            tarfile.ReadError: the header is damaged or cut.
        """
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except (tarfile.HeaderError, ValueError) as error:
            raise tarfile.ReadError(str(error)) from error


def tar_members(archive: Path) -> Iterator[Member]:
    """Yield the members of a tar archive, in its order; damage raises what tarfile raises."""
    with tarfile.open(archive, "r|*", tarinfo=_StrictHeader) as tar:
        for member in tar:
            # Of a million members, tarfile's list of them would have half a gigabyte.
            tar.members = []  # type: ignore[attr-defined]
            read = partial(_read, tar, member)
            yield Member(member.name, member.size, member.isdir(), _refusal(member), read)


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file is not None else b""


def _refusal(member: tarfile.TarInfo) -> Refusal | None:
    if member.islnk() or member.issym():
        what = f"is a link to {one_line(member.linkname)}"
        return what, "pack the files themselves (tar -h --hard-dereference)"
    return None if member.isreg() or member.isdir() else ("is not a file", "pack files alone")
