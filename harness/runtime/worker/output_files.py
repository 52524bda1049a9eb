"""What a stage left behind: whether it is plain files only. Used on both sides of a container."""

from __future__ import annotations

import os
import stat
from pathlib import Path

DEPTH = 32
"""Folders inside folders in an output; library functions that recurse die of a thousand."""


def find_irregular_file(out: Path) -> str:
    """What in an output folder the host will not open, or ``""``; walks without recursion."""
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
                    elif wrong := odd_file(entry):
                        return f"the output holds {entry.name}, {wrong}"
    except OSError as error:
        return f"the output cannot be read ({error.strerror})"
    return ""


def odd_file(entry: os.DirEntry[str]) -> str:
    """Why an entry is no plain, readable file with one name, or ``""``."""
    found = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        return "which is not a plain file"
    if found.st_nlink > 1:
        return "a hard link"
    return "" if os.access(entry.path, os.R_OK) else "which cannot be read"
