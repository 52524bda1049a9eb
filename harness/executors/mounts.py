"""Read-only mounts and Unix sockets of a container."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path


def expose(
    source: Path,
    target: Path,
    *,
    link: bool = True,
    select: Callable[[Path], bool] | None = None,
) -> None:
    """Make a folder's plain files readable in a mount root, by hard links, which copy nothing.

    Args:
        source: folder of the files.
        target: folder in the mount root; parents are made.
        link: false to copy the files.
        select: predicate of a file's relative name; without it all files are exposed, and empty
            folders, too.
    """
    make_readable(target)
    for path in source.rglob("*"):
        name = path.relative_to(source)
        place = target / name
        if path.is_symlink() or "__pycache__" in name.parts:
            continue
        if path.is_dir():
            if select is None:
                make_readable(place)
        elif path.is_file() and (select is None or select(name)):
            make_readable(place.parent)
            if not (link and try_hard_link(path, place)):
                shutil.copyfile(path, place)
            if place.stat().st_mode & 0o444 != 0o444:
                place.chmod(place.stat().st_mode | 0o444)


def try_hard_link(path: Path, place: Path) -> bool:
    """Link a file; return false where that fails: on another file system, or for another owner."""
    try:
        os.link(path, place)
    except OSError:
        return False
    return True


def make_readable(folder: Path) -> None:
    """Make a folder, and missing parents, that any user may list."""
    if not folder.is_dir():
        if not folder.parent.is_dir():
            make_readable(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)


def listen_at(path: Path, backlog: int) -> socket.socket:
    """Return a listening Unix socket of that name, to which any user may connect.

    It is bound through a descriptor of its folder: the name of a socket may have 107 bytes only.
    """
    number = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(f"/proc/self/fd/{number}/{path.name}")
        path.chmod(0o666)  # connecting needs the right to write
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(number)
    return listener
