"""Read-only mounts and Unix sockets of a container."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from pathlib import Path

from harness.common.errors import UserError
from harness.config.module_files import irregular_files, module_files, open_plain


def expose(source: Path, target: Path, *, link: bool = True) -> None:
    """Make an artefact's files readable in a mount root, by hard links, which copy nothing.

    Args:
        source: folder of the files.
        target: folder in the mount root; parents are made.
        link: false to copy the files.

    Raises:
        UserError: a link or something else that is no plain file.
    """
    for error in irregular_files(source):
        what = error.what.replace("a module's folder", "an artefact")
        raise UserError(error.where, what, "remove the artefact")
    make_readable(target)
    for path in source.rglob("*"):
        name = path.relative_to(source)
        place = target / name
        if "__pycache__" in name.parts:
            continue
        if path.is_dir():
            make_readable(place)
            continue
        if not (link and try_hard_link(path, place)):
            copy_plain(source, name, place)
        if place.stat().st_mode & 0o444 != 0o444:
            place.chmod(place.stat().st_mode | 0o444)


def expose_module(folder: Path, target: Path) -> None:
    """Copy the files of a module's folder that decide results into a mount root.

    They are copied, because people edit them in place.

    Args:
        folder: folder of the module.
        target: folder in the mount root; parents are made.

    Raises:
        UserErrors: links and other things in the folder that are no plain files.
    """
    make_readable(target)
    for path in module_files(folder):
        name = path.relative_to(folder)
        make_readable((target / name).parent)
        copy_plain(folder, name, target / name)


def copy_plain(folder: Path, name: Path, place: Path) -> None:
    """Copy a plain file, so that anybody may read it; a link is refused."""
    with open_plain(folder, name) as source, place.open("xb") as target:
        shutil.copyfileobj(source, target)
    place.chmod(0o644)


def try_hard_link(path: Path, place: Path) -> bool:
    """Link a plain file.

    Returns:
        False where that fails: on another file system, for another owner, or as it is none.
    """
    try:
        os.link(path, place, follow_symlinks=False)
    except OSError:
        return False
    if stat.S_ISREG(place.lstat().st_mode):
        return True
    place.unlink()
    return False


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
