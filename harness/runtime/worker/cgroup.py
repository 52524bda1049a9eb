"""Counters of the container's control group: memory in use, and out-of-memory kills.

Versions 1 and 2 of control groups are supported. Docker mounts the container's own part read-only.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMORY_FIELDS = {
    ROOT / "memory.stat": ("anon", "shmem"),  # version 2
    ROOT / "memory" / "memory.stat": ("total_rss", "total_shmem"),  # version 1
}
KILLS = (ROOT / "memory.events", ROOT / "memory" / "memory.oom_control")
PEAKS = {
    ROOT / "memory.peak": ROOT / "memory.max",  # version 2, from Linux 5.19 on
    ROOT / "memory" / "memory.max_usage_in_bytes": ROOT / "memory" / "memory.limit_in_bytes",
}
"""File of the most memory that was ever in use → file of the limit. Not ``memory.failcnt``, which
stays 0 on Linux 6.18."""
FULL = 0.9
"""Share of the limit from which on a kill is at the limit. There the peak is the limit, to the byte
on Linux 6.18; in the machine's own shortage it is whatever the stage had used."""


def read_counters(path: Path) -> dict[str, int]:
    """Read a file of ``name number`` lines; a missing file is empty."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def memory_used() -> int:
    """Return bytes of private and shared memory, tmpfs files included; 0 if there is no counter."""
    for path, names in MEMORY_FIELDS.items():
        if found := read_counters(path):
            # neither ``anon`` (version 2) nor ``rss`` (version 1) includes shared memory
            return sum(found.get(name, 0) for name in names)
    return 0


def out_of_memory_kills() -> int:
    """Return the number of processes that the kernel killed for want of memory.

    Both versions count kills at the limit and those of the machine's own shortage alike.
    """
    return sum(read_counters(path).get("oom_kill", 0) for path in KILLS)


def has_room() -> bool:
    """Return whether memory in use has always stayed clear of the limit; false if not known.

    A kill by the kernel was then for the machine's own shortage.
    """
    for peak, limit in PEAKS.items():
        with contextlib.suppress(OSError, ValueError):
            used, most = (int(path.read_text(encoding="ascii")) for path in (peak, limit))
            return used < FULL * most
    return False
