"""Walk through a data source: the wanted files of a folder and of the archives in it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.common.errors import UserError
from harness.common.keys import file_digest
from harness.datasets.files.archives import (
    check_file_size,
    list_archives,
    read_archive,
    unreadable_error,
)
from harness.datasets.files.names import CaseClashes, check_encoding, is_ignored
from harness.datasets.mistakes import Mistakes


@dataclass(frozen=True)
class SourceFile:
    """File of a data source.

    Attributes:
        name: below the folder, or in the archive, with slashes.
        where: name for messages.
        archive: the archive that it is in; ``None``: it is in the folder.
        content: bytes from an archive, or the path of a file.
        size: in bytes.
    """

    name: str
    where: str
    archive: Path | None
    content: Path | bytes
    size: int

    def read(self) -> bytes:
        """Return the bytes of the file; a ``UserError`` if it is unreadable."""
        if isinstance(self.content, bytes):
            return self.content
        try:
            return self.content.read_bytes()
        except OSError as error:
            raise unreadable_error(self.content, error) from error

    def sha256(self) -> str:
        """Return the SHA-256 of its bytes; a ``UserError`` if it is unreadable."""
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        try:
            return file_digest(self.content)
        except OSError as error:
            raise unreadable_error(self.content, error) from error


def find_files(
    source: Path,
    wanted: Callable[[str], object],
    largest: int,
    mistakes: Mistakes,
    reaches: Callable[[str], bool] = lambda folder: True,
) -> Iterator[SourceFile]:
    """Yield the wanted files of a source: first of the folder, sorted, then of each archive.

    Hidden and resource files are ignored. Links are refused: what they point to may lie outside
    the source, and may be another thing tomorrow.

    Args:
        source: the folder, or one archive.
        wanted: whether a file of this name is to be read.
        largest: limit of a file's size in bytes.
        mistakes: gets files that are refused: links, names that are not UTF-8 or differ in
            case alone within the folder or within an archive, more bytes than ``largest``; more in
            ``read_archive``.
        reaches: whether a folder of this name may hold wanted files. Links to others, such as those
            of a virtual environment beside the data, are left alone.

    Raises:
        UserError: the folder or an archive cannot be read.
    """
    archives = list_archives(source)
    clashes = CaseClashes()
    in_folder = () if archives == [source] else _walk(source, "", wanted, mistakes, reaches)
    for name, path in in_folder:
        with mistakes.gather():
            check_encoding(name, str(path))
            clashes.check(name, str(path))
            size = _size(path)
            check_file_size(size, str(path), largest)
            yield SourceFile(name, str(path), None, path, size)
    for archive in archives:
        clashes = CaseClashes()
        for name, blob in read_archive(archive, wanted, largest, mistakes):
            where = f"{archive}: {name}"
            with mistakes.gather():
                check_encoding(name, where)
                clashes.check(name, where)
                yield SourceFile(name, where, archive, blob, len(blob))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise unreadable_error(path, error) from error


def _walk(
    folder: Path,
    below: str,
    wanted: Callable[[str], object],
    mistakes: Mistakes,
    reaches: Callable[[str], bool],
) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each wanted file, sorted as the parts of their paths are."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable_error(folder, error) from error
    for entry in entries:
        name, path = f"{below}{entry.name}", folder / entry.name
        if is_ignored(entry.name):
            continue
        if entry.is_symlink():
            # what is not a file is a folder, or nowhere: what it lacks is unsaid
            if wanted(name) or (not entry.is_file() and reaches(name)):
                what = f"is a link to {os.readlink(path)}"
                mistakes.add(UserError(str(path), what, "put the files themselves there"))
        elif entry.is_dir():
            yield from _walk(path, f"{name}/", wanted, mistakes, reaches)
        elif entry.is_file() and wanted(name):
            yield name, path
