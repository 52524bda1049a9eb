"""Files of a module's folder: those that decide results, and those that are refused."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from io import BufferedReader
from pathlib import Path

from harness.common.errors import UserError, UserErrors
from harness.common.keys import IGNORED_NAMES

MANIFEST = "manifest.yaml"
"""Name of the manifest. No container gets it; ``identity`` lists the keys that decide results."""

DOCUMENTATION = ("*.md", "readme", "readme.txt", "readme.rst", "license", "license.txt")
"""Patterns of documentation, in lower case: it decides no result, so no container gets it."""

EDITORS = ".#*"
"""Emacs locks a file with a link of this name; it goes when the file is saved."""

UNREADABLE = 0
"""Type of a file or folder that cannot be read."""

KINDS = {
    stat.S_IFLNK: ("a link", "copy what it names to this place, or remove it"),
    stat.S_IFIFO: ("a named pipe", "remove it"),
    stat.S_IFSOCK: ("a socket", "remove it"),
    stat.S_IFCHR: ("a device", "remove it"),
    stat.S_IFBLK: ("a device", "remove it"),
    UNREADABLE: ("a file or folder that cannot be read", "change its rights, or remove it"),
}
"""Type of a file that is neither plain nor a folder → its name, and what to do."""


def module_files(folder: Path) -> list[Path]:
    """Return the files that decide what a module does; exactly these are hashed and mounted.

    Raises:
        UserErrors: links and other things in the folder that are no plain files.
    """
    if errors := irregular_files(folder):
        raise UserErrors(errors)
    names = (path.relative_to(folder) for path, _ in walk(folder))
    return [folder / name for name in sorted(names, key=str) if affects_results(name)]


@contextlib.contextmanager
def open_plain(folder: Path, name: Path) -> Iterator[BufferedReader]:
    """Open a plain file below a folder; no part of its name is followed if it is a link.

    A file that was plain when it was listed may be a link by now.

    Args:
        folder: a folder, which may be a link itself.
        name: name of the file in it.

    Raises:
        UserError: a link or something else that is no plain file.
        OSError: it is gone, or cannot be read.
    """
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    plain = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not block
    try:
        for part in name.parts:
            kind = os.stat(part, dir_fd=place, follow_symlinks=False).st_mode
            try:
                inner = os.open(part, plain, dir_fd=place)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket
                    raise _irregular(folder, name, stat.S_IFMT(kind)) from None
                raise
            os.close(place)
            place = inner
        kind = os.fstat(place).st_mode
        if not stat.S_ISREG(kind):
            raise _irregular(folder, name, stat.S_IFMT(kind))
        with os.fdopen(os.dup(place), "rb") as file:
            yield file
    finally:
        os.close(place)


def file_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that decides results, by its name in the folder.

    Raises:
        UserErrors: links and other things in the folder that are no plain files.
    """
    found = {}
    for path in module_files(folder):
        name = path.relative_to(folder)
        with open_plain(folder, name) as file:
            found[str(name)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def affects_results(name: Path) -> bool:
    """Return whether a file's content may decide results, by its name in the module's folder.

    >>> [affects_results(Path(name)) for name in ("attack.py", "README.md", "a/B.MD")]
    [True, False, False]
    """
    text = any(fnmatchcase(name.name.lower(), pattern) for pattern in DOCUMENTATION)
    return not (text or name == Path(MANIFEST) or any(map(_ignored, name.parts)))


def irregular_files(folder: Path) -> list[UserError]:
    """Return an error for each link, pipe, socket and device in a module's folder.

    In a container a link names another file, or none; the rest has no content that can be hashed.
    The folder itself may be a link.
    """
    found = (
        _irregular(folder, path.relative_to(folder), kind)
        for path, kind in walk(folder)
        if kind != stat.S_IFREG
    )
    return sorted(found, key=lambda error: error.where)


def _irregular(folder: Path, name: Path, kind: int) -> UserError:
    """Return the error for something that is no plain file."""
    place = Path(os.path.abspath(folder))  # without following links
    what, fix = KINDS.get(kind, ("no plain file", "remove it"))
    where = Path(place.parent.name, place.name, name)
    return UserError(str(where), f"{what} in a module's folder", fix)


def walk(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield everything below a folder but readable folders, with its type; no link is followed."""
    pending = [folder]  # no recursion: a path may be deeper than Python's stack
    for place in pending:
        try:
            with os.scandir(place) as found:
                entries = [entry for entry in found if not _ignored(entry.name)]
        except OSError:
            yield place, UNREADABLE
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                pending.append(path)
            else:
                kind = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
                readable = kind != stat.S_IFREG or os.access(path, os.R_OK)
                yield path, kind if readable else UNREADABLE


def _ignored(part: str) -> bool:
    return part in IGNORED_NAMES or fnmatchcase(part, EDITORS)
