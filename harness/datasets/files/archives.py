"""Reader of untrusted archives (tar, zip): nothing is unpacked to disk, no wanted member skipped.

``tar_files`` and ``zip_files`` list members; the rules for all of them are here.
"""

from __future__ import annotations

import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.common.errors import UserError
from harness.common.text import one_line
from harness.datasets.files.archive_members import Member, MemberError
from harness.datasets.files.names import is_ignored
from harness.datasets.files.tar_files import tar_members
from harness.datasets.files.zip_files import zip_members
from harness.datasets.mistakes import Mistakes

BROKEN = (tarfile.TarError, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)
"""Exceptions that reading a damaged archive may raise; ValueError: numbers of extended headers."""

_READERS: tuple[tuple[re.Pattern[str], Callable[[Path], Iterator[Member]]], ...] = (
    (re.compile(r".+\.zip", re.IGNORECASE), zip_members),
    (re.compile(r".+\.(?:tar(?:\.\w+)*|tgz|tbz2?|txz)", re.IGNORECASE), tar_members),
)
"""Name of an archive → reader of its members; the first that fits."""
_OUTSIDE = re.compile(r"/|[A-Za-z]:|(?:.*/)?\.\.(?:/|\Z)", re.DOTALL)
"""Start of an absolute name, or a name that climbs out of the folder."""


def is_archive(name: str) -> bool:
    """Return whether a file of this name is read as an archive.

    >>> is_archive("images.tar.gz"), is_archive("a.ZIP"), is_archive("a.npz")
    (True, True, False)
    """
    return any(pattern.fullmatch(name) for pattern, _ in _READERS)


def list_archives(source: Path) -> list[Path]:
    """Return the archives in a folder, sorted by name; hidden ones do not count.

    A source that is an archive itself is the only one.

    Raises:
        UserError: the folder cannot be read, or an archive is a link.
    """
    if is_archive(source.name) and source.is_file():
        return [source]
    try:
        found = sorted(path for path in source.iterdir() if is_archive(path.name))
    except OSError as error:
        raise unreadable_error(source, error) from error
    found = [path for path in found if not is_ignored(path.name) and not path.is_dir()]
    for path in found:
        refuse_link(path)
    return found


def refuse_link(path: Path) -> None:
    """Raise a ``UserError`` for a link: it may lead out of the source, and elsewhere tomorrow."""
    if path.is_symlink():
        raise UserError(str(path), f"is a link to {path.readlink()}", "put the file itself there")


def read_archive(
    archive: Path, wanted: Callable[[str], object], largest: int, mistakes: Mistakes
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the wanted files of an archive, in its order.

    A leading ``./`` is removed from names. Hidden and resource files are left out. One member is
    in memory at a time, and of a wanted one its name for as long as the archive is read.

    Args:
        archive: a tar file, compressed or not, or a zip file.
        wanted: whether a file of this name is to be read.
        largest: limit of a file's size in bytes.
        mistakes: gets members that are refused: a name outside the archive's folder; and of the
            wanted files links, devices, encrypted ones, one name for two, more bytes than
            ``largest`` or than declared.

    Raises:
        UserError: the archive is broken.
    """
    seen: set[str] = set()
    members = next(reader for pattern, reader in _READERS if pattern.fullmatch(archive.name))
    try:
        for member in members(archive):
            name, where = member.name.removeprefix("./"), f"{archive}: {member.name}"
            if _OUTSIDE.match(member.name):
                what = "has a name outside the archive's folder"
                mistakes.add(UserError(where, what, "pack the folder anew"))
                continue
            if member.folder or is_ignored(name) or not wanted(name):
                continue
            try:
                _check_member(member, where, name in seen, largest)
                seen.add(name)
                blob = _read_member(member, where)
            except UserError as error:
                mistakes.add(error)
            else:
                yield name, blob
    except BROKEN as error:
        raise unreadable_error(archive, error) from error


def _check_member(member: Member, where: str, repeated: bool, largest: int) -> None:
    """Raise the error for a wanted member that is not a file of its own."""
    if member.refusal is not None:
        raise UserError(where, *member.refusal)
    if repeated:
        raise UserError(where, "is in the archive twice", "leave one of them")
    check_file_size(member.size, where, largest)


def _read_member(member: Member, where: str) -> bytes:
    try:
        return member.read()
    except MemberError as error:
        raise UserError(where, f"is damaged ({one_line(str(error))})", "pack it anew") from error


def check_file_size(size: int, where: str, largest: int) -> None:
    """Raise a ``UserError`` for a file of more bytes than the limit."""
    if size > largest:
        what = f"has {size:,} bytes, of at most {largest:,}"
        raise UserError(where, what, "give smaller files")


def unreadable_error(path: Path, error: Exception) -> UserError:
    """Return the error for a file that cannot be read or decoded."""
    return UserError(
        str(path), f"cannot be read ({one_line(str(error))})", "give a whole, readable file"
    )
