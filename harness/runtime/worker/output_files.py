"""Walks over the files that a stage has written. Used on both sides of a container."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DEPTH = 32
"""Deepest nesting of folders in an output; recursive library functions fail at a thousand."""


class FileState(NamedTuple):
    """State of a file by which a change is recognised.

    Attributes:
        modified: time of the last change, in nanoseconds.
        size: bytes.
    """

    modified: int
    size: int


def find_irregular_file(out: Path) -> str:
    """Return why the harness must not open an output folder, or ``""``.

    The folder may hold plain, readable files with one name each, and folders. The walk does not
    recurse, so deep nesting does no harm.
    """
    if not os.path.lexists(out):
        return ""
    if not stat.S_ISDIR(out.lstat().st_mode):
        return "the output folder was replaced by something else"
    stack = [(out, 0)]
    try:
        while stack:
            folder, depth = stack.pop()
            if depth > DEPTH:
                return f"the output holds folders more than {DEPTH} deep"
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append((Path(entry.path), depth + 1))
                    elif problem := check_file(entry):
                        return f"the output holds {entry.name}, {problem}"
    except OSError as error:
        return f"the output cannot be read ({error.strerror})"
    return ""


def check_file(entry: os.DirEntry[str]) -> str:
    """Return why an entry is not a plain, readable file with one name, or ``""``."""
    found = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        return "which is not a plain file"
    if found.st_nlink > 1:
        return "a hard link"
    return "" if os.access(entry.path, os.R_OK) else "which cannot be read"


def walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield all entries below a folder; links are not followed, and what vanishes is left out."""
    stack = [folder]
    while stack:
        with contextlib.suppress(FileNotFoundError), os.scandir(stack.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    stack.append(Path(entry.path))


def plain_files(folder: Path) -> dict[str, FileState]:
    """Return relative name → state of all plain files below a folder."""
    files = {}
    for entry in walk(folder):
        with contextlib.suppress(FileNotFoundError):
            if entry.is_file(follow_symlinks=False):
                found = entry.stat(follow_symlinks=False)
                state = FileState(found.st_mtime_ns, found.st_size)
                files[os.path.relpath(entry.path, folder)] = state
    return files


def subfolders(folder: Path) -> list[str]:
    """Return the relative names of a folder itself (``""``) and of all folders below it."""
    inside = (e.path for e in walk(folder) if e.is_dir(follow_symlinks=False))
    return ["", *(os.path.relpath(path, folder) for path in inside)]
