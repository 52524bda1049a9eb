"""State of a source, by which it is known without reading it that nothing has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def source_state(source: Path) -> str:
    """Return a digest of the names, sizes and times of all files of a source.

    Args:
        source: a folder or a file. Links are not followed: the reader refuses them.

    Raises:
        OSError: something in it cannot be looked at.
    """
    digest = hashlib.sha256()
    for line in _lines(source, ""):
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _lines(path: Path, name: str) -> Iterator[str]:
    if path.is_dir() and not path.is_symlink():
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            below = f"{name}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from _lines(Path(entry.path), below)
            else:
                yield _line(below, entry.stat(follow_symlinks=False))
    else:
        yield _line(name, path.lstat())


def _line(name: str, found: os.stat_result) -> str:
    return f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n"
