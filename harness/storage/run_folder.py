"""Runs that share a store: each has a work folder and a lock, and knows whether it is alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from harness.common.files import remove_tree


class WorkFolder:
    """A run's own folder for stages in progress, locked while the run lives.

    Whether a run lives is told by its lock, which the system frees however it ends. To begin, and
    to remove what others may read, a run holds the *gate*: neither happens during the other.

    Args:
        root: where runs have their folders. aside: where the store prepares its entries.

    Example::

        with WorkFolder(home / "work", store.aside) as work:
            (work.path / "stage").mkdir()
            with work.alone() as alone:
                ...
    """

    def __init__(self, root: Path, aside: Path) -> None:
        self.root, self.aside = root, aside
        self.path = root / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._lock: IO[str] | None = None

    def __enter__(self) -> WorkFolder:
        self.root.mkdir(parents=True, exist_ok=True)
        with self._gate():
            if self._sweep():
                for left in self.aside.glob("*"):
                    remove_tree(left)
            self._lock = locked(self.path.with_suffix(".lock"))
            self.path.mkdir()
        return self

    def __exit__(self, *exc: object) -> None:
        remove_tree(self.path)
        self.path.with_suffix(".lock").unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no other run lives; inside the block none begins."""
        with self._gate():
            yield self._sweep()

    @contextlib.contextmanager
    def _gate(self) -> Iterator[None]:
        with (self.root / "gate").open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _sweep(self) -> bool:
        """Remove the folders of runs that were killed; whether no run but this one is left."""
        own, alone = self.path.with_suffix(".lock"), True
        for lock in self.root.glob("*.lock"):
            if lock == own:
                continue
            held = locked(lock)
            if held is None:
                alone = False
                continue
            remove_tree(lock.with_suffix(""))
            lock.unlink(missing_ok=True)
            held.close()
        return alone


def locked(path: Path) -> IO[str] | None:
    """An open file that holds the lock, or ``None`` while another process holds it."""
    file = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
