"""Process groups of the local executor: their members, their memory, and how to kill them."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def kill_group(pid: int) -> None:
    """Kill a stage's whole process group; 0 is a stage that never ran."""
    if pid:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def kill_members(pid: int) -> None:
    """Kill all descendants of a group's leader, but not the leader itself."""
    for member in group_members(pid)[1:]:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(member, signal.SIGKILL)


def used_memory(pid: int, limit: float) -> int:
    """Return the bytes of private and shared memory of a process group.

    RLIMIT_AS cannot be used: torch maps 3 GB before it does anything.

    Args:
        pid: leader of the group.
        limit: bytes above which the figure must be exact. Below, pages that processes share since
            a fork count for each: too much, but a thousand times faster.
    """
    quick = group_memory(pid, exact=False)
    return quick if quick <= limit else group_memory(pid, exact=True)


def group_memory(pid: int, *, exact: bool) -> int:
    """Return the bytes of private and shared memory of a process group; see ``used_memory``."""
    total = 0
    for member in group_members(pid):
        folder = Path(f"/proc/{member}")
        shares = exact and kibibytes(folder / "smaps_rollup", "Pss_Anon:", "Pss_Shmem:")
        total += shares or kibibytes(folder / "status", "RssAnon:", "RssShmem:")
    return total * 1024


def kibibytes(path: Path, *fields: str) -> int:
    """Return the sum of some fields of a file of ``/proc``; 0 when it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(fields))


def group_members(group: int) -> list[int]:
    """Return the processes of a group: the leader and its descendants, found in ``/proc``."""
    found, queue = [], [group]
    while queue:
        pid = queue.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():  # each has children of its own
                children = (thread / "children").read_text(encoding="ascii")
                queue += [int(child) for child in children.split()]
    return found
