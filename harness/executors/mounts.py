"""What goes into a container: granted files that anybody may read, and sockets to knock at."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path


def grant(
    source: Path,
    target: Path,
    *,
    linked: bool = True,
    wanted: Callable[[Path], bool] | None = None,
) -> None:
    """Make a folder's plain files readable in a box: by hard links, which copy nothing.

    Args:
        source: a folder.
        target: where; parents are made.
        linked: false to copy.
        wanted: says by a file's relative name whether it is granted; without it all are, and
            empty folders, too.
    """
    readable(target)
    for path in source.rglob("*"):
        name = path.relative_to(source)
        place = target / name
        if path.is_symlink() or "__pycache__" in name.parts:
            continue
        if path.is_dir():
            if wanted is None:
                readable(place)
        elif path.is_file() and (wanted is None or wanted(name)):
            readable(place.parent)
            if not (linked and hard_linked(path, place)):
                shutil.copyfile(path, place)
            if place.stat().st_mode & 0o444 != 0o444:
                place.chmod(place.stat().st_mode | 0o444)


def hard_linked(path: Path, place: Path) -> bool:
    """Link a file of ours; not possible on another file system, or for a file of somebody else."""
    try:
        os.link(path, place)
    except OSError:
        return False
    return True


def readable(folder: Path) -> None:
    """Make a folder, and its parents as need be, that any user may look into."""
    if not folder.is_dir():
        if not folder.parent.is_dir():
            readable(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)


@contextlib.contextmanager
def at(folder: Path) -> Iterator[Path]:
    """A short name for a folder: the name of a socket may have 107 bytes."""
    number = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{number}")
    finally:
        os.close(number)


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A listening socket of that name, for as long as the block."""
    with at(path.parent) as near, socket.socket(socket.AF_UNIX) as door:
        door.bind(str(near / path.name))
        path.chmod(0o666)
        door.listen(1)
        yield door
