"""Files and folders that a benchmark gives modules as parameters: found, bounded and digested."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness.common.errors import UserError
from harness.common.keys import digest
from harness.config.module_files import KINDS, UNREADABLE, open_plain, walk
from harness.config.strict_yaml import quote
from harness.planning.recipe import FileRecipe

MOST_BYTES = 1 << 30
"""Largest size of a file, or of all files of a folder."""

MOST_FILES = 10_000
"""Largest number of files of a folder."""

SHARED = "benchmarks"
"""Folder of benchmarks that others run: what these name lies in their own folders."""


class Part(NamedTuple):
    """Plain file of what a benchmark names, as it was when it was listed.

    Attributes:
        folder: folder below which no link is followed.
        name: name of the file in it.
        size: bytes.
        changed: time of the last change, in nanoseconds; unlike that of content, nobody sets it.
    """

    folder: Path
    name: Path
    size: int
    changed: int


def find_own_file(folder: Path, text: str, where: str) -> FileRecipe | None:
    """Return the file or folder that a benchmark names, or ``None`` where nothing is there.

    A benchmark of a folder ``benchmarks/`` is for others, too, so that its paths stay inside its
    own folder. Elsewhere it may name any path.

    Args:
        folder: folder of the benchmark's file.
        text: the path as it is written, seen from there.
        where: place of the path in the benchmark, for errors.

    Raises:
        UserError: a path outside, a link, something that is no plain file, nothing in it, or more
            than ``MOST_BYTES`` or ``MOST_FILES``.
    """
    base = folder.resolve()
    place = Path(os.path.normpath(base / text))
    inside = place.is_relative_to(base)
    if not inside and base.parent.name == SHARED:
        what = f"{quote(text)} is outside the benchmark's folder"
        raise UserError(where, what, "copy it into the folder, so that others have it, too")
    try:
        real = Path(os.path.realpath(place))  # of links in a circle itself, so that reading fails
        if inside and real != place:
            raise UserError(where, f"{quote(text)} is or follows a link", "copy what it names")
        parts = tuple(list_parts(real, text, where))
        return FileRecipe(place, _digest(real, parts))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        what = f"{quote(text)} cannot be read ({error.strerror})"
        raise UserError(where, what, "change its rights, or name another") from error


def content_digest(path: Path) -> str:
    """Return the digest of a file or folder that was listed: of content and names inside.

    The SHA-256 of a file's bytes; of a folder that of the canonical JSON of its files' names and
    digests, in the order of the names.

    Raises:
        UserError: it is not what it was when it was found.
        OSError: it cannot be read.
    """
    return _digest(path, tuple(list_parts(path, path.name, path.name)))


@functools.lru_cache(maxsize=256)
def _digest(path: Path, parts: tuple[Part, ...]) -> str:
    """Return a digest; an unchanged size and time of every file stand for unchanged content."""
    found = []
    for part in parts:
        with open_plain(part.folder, part.name) as file:
            found.append([str(part.name), hashlib.file_digest(file, "sha256").hexdigest()])
    if len(parts) == 1 and parts[0].folder == path.parent:
        return found[0][1]
    return digest(sorted(found))


def list_parts(path: Path, text: str, where: str) -> Iterator[Part]:
    """Yield the plain files that a path names, within the bounds.

    Raises:
        UserError: see ``find_own_file``.
    """
    named = path.stat()
    folder = path if stat.S_ISDIR(named.st_mode) else path.parent
    kind = stat.S_IFMT(named.st_mode)
    found = walk(path) if stat.S_ISDIR(named.st_mode) else iter([(path, kind)])
    count = size = 0
    for one, kind in found:
        name = one.relative_to(folder)
        said = quote(text) if one == path else f"{quote(str(name))} in {quote(text)}"
        if kind != stat.S_IFREG:
            what, fix = KINDS.get(kind, KINDS[UNREADABLE])
            fix = "name a file or a folder" if one == path else fix
            raise UserError(where, f"{said} is {what}", fix)
        if not str(name).isprintable():
            raise UserError(where, f"{said} has an invisible character", "rename it")
        state = one.stat(follow_symlinks=False)
        count, size = count + 1, size + state.st_size
        if size > MOST_BYTES or count > MOST_FILES:
            what = f"{quote(text)} has more than {MOST_BYTES >> 30} GiB or {MOST_FILES:,} files"
            raise UserError(where, what, "name less, or describe it as a data set (docs/data.md)")
        yield Part(folder, name, state.st_size, state.st_ctime_ns)
    if not count:
        raise UserError(where, f"{quote(text)} is an empty folder", "put the files into it")
