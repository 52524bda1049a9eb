"""Folders and locks of runs that share a store: each run knows whether it is the only one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from harness.common.files import remove_tree


class RunFolder:
    """Folder of a run for its stages in progress, locked while the run lives.

    A run is alive while its lock is held; the system releases the lock however the run ends. A run
    holds a second lock, common to all, while it begins and while it removes files that other runs
    may read, so that neither happens during the other.

    Args:
        root: folder of all runs.
        aside: folder in which the store prepares its entries.

    Example::

        with RunFolder(home / "work", store.aside) as run_folder:
            (run_folder.path / "stage").mkdir()
            with run_folder.exclusive() as exclusive:
                ...
    """

    def __init__(self, root: Path, aside: Path) -> None:
        self.root, self.aside = root, aside
        self.path = root / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._own_lock: IO[str] | None = None

    def __enter__(self) -> RunFolder:
        self.root.mkdir(parents=True, exist_ok=True)
        with self._lock():
            if self._clean_up():
                for left in self.aside.glob("*"):
                    remove_tree(left)
            self._own_lock = try_lock(self.path.with_suffix(".lock"))
            self.path.mkdir()
        return self

    def __exit__(self, *exc: object) -> None:
        remove_tree(self.path)
        self.path.with_suffix(".lock").unlink(missing_ok=True)
        if self._own_lock is not None:
            self._own_lock.close()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Yield whether no other run lives; none begins during the block."""
        with self._lock():
            yield self._clean_up()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.root / "gate").open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _clean_up(self) -> bool:
        """Remove the folders of runs that were killed; return whether only this run is left."""
        own, only = self.path.with_suffix(".lock"), True
        for path in self.root.glob("*.lock"):
            if path == own:
                continue
            lock = try_lock(path)
            if lock is None:
                only = False
                continue
            remove_tree(path.with_suffix(""))
            path.unlink(missing_ok=True)
            lock.close()
        return only


def try_lock(path: Path) -> IO[str] | None:
    """Open a file and lock it; return ``None`` while another process holds the lock."""
    file = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
