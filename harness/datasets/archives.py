"""Reader of untrusted tar archives: nothing is unpacked to disk, no wanted member skipped."""

from __future__ import annotations

import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from harness.common.errors import UserError
from harness.common.text import one_line
from harness.datasets.mistakes import Mistakes
from harness.datasets.names import is_ignored

BROKEN = (tarfile.TarError, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)
"""Exceptions that reading a damaged archive may raise; ValueError: numbers of extended headers."""

_ARCHIVE = re.compile(r".+\.(?:tar(?:\.\w+)*|tgz|tbz2?|txz)", re.IGNORECASE)
_OUTSIDE = re.compile(r"/|[A-Za-z]:|(?:.*/)?\.\.(?:/|\Z)", re.DOTALL)
"""Start of an absolute name, or a name that climbs out of the folder."""


class _StrictHeader(tarfile.TarInfo):
    """Header whose damage is an error: else tarfile takes it for the end of the archive."""

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


def list_archives(folder: Path) -> list[Path]:
    """Return the tar archives in a folder, sorted by name; hidden ones do not count.

    Raises:
        UserError: the folder cannot be read, or an archive is a link.
    """
    try:
        found = sorted(path for path in folder.iterdir() if _ARCHIVE.fullmatch(path.name))
    except OSError as error:
        raise unreadable_error(folder, error) from error
    found = [path for path in found if not is_ignored(path.name) and not path.is_dir()]
    for path in found:
        refuse_link(path)
    return found


def refuse_link(path: Path) -> None:
    """Raise a ``UserError`` for a link: it may lead out of the source, and elsewhere tomorrow."""
    if path.is_symlink():
        raise UserError(str(path), f"is a link to {path.readlink()}", "put the file itself there")


def read_tar(
    archive: Path, wanted: Callable[[str], object], largest: int, mistakes: Mistakes
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the wanted files of an archive, in its order.

    A leading ``./`` is removed from names. Hidden and resource files are left out.

    Args:
        archive: the tar file, compressed or not.
        wanted: whether a file of this name is to be read.
        largest: limit of a file's size in bytes.
        mistakes: gets members that are refused: a name outside the archive's folder; and of the
            wanted files links, devices, one name for two, more bytes than ``largest``.

    Raises:
        UserError: the archive is broken.
    """
    seen: set[str] = set()
    try:
        with tarfile.open(archive, "r|*", tarinfo=_StrictHeader) as tar:
            for member in tar:
                # Of a million members, tarfile's list of them would have half a gigabyte.
                tar.members = []  # type: ignore[attr-defined]
                name, where = member.name.removeprefix("./"), f"{archive}: {member.name}"
                if _OUTSIDE.match(member.name):
                    what = "has a name outside the archive's folder"
                    mistakes.add(UserError(where, what, "pack the folder anew"))
                    continue
                if member.isdir() or is_ignored(name) or not wanted(name):
                    continue
                if error := _refuse_member(member, where, name in seen, largest):
                    mistakes.add(error)
                    continue
                seen.add(name)
                file = tar.extractfile(member)
                yield name, file.read() if file is not None else b""
    except BROKEN as error:
        raise unreadable_error(archive, error) from error


def _refuse_member(
    member: tarfile.TarInfo, where: str, repeated: bool, largest: int
) -> UserError | None:
    """Return the error for a wanted member that is not a file of its own."""
    if member.islnk() or member.issym():
        what = f"is a link to {one_line(member.linkname)}"
        return UserError(where, what, "pack the files themselves (tar -h --hard-dereference)")
    if not member.isreg():
        return UserError(where, "is not a file", "pack files alone")
    if repeated:
        return UserError(where, "is in the archive twice", "leave one of them")
    if member.size > largest:
        return UserError(where, f"{member.size:,} bytes", "give small images")
    return None


def unreadable_error(path: Path, error: Exception) -> UserError:
    """Return the error for a file that cannot be read or decoded."""
    return UserError(
        str(path), f"cannot be read ({one_line(str(error))})", "give a whole, readable file"
    )
