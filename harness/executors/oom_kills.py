"""The kernel's count of processes that it killed for want of memory, on the whole machine."""

from __future__ import annotations

from pathlib import Path

COUNTERS = Path("/proc/vmstat")


def count_oom_kills() -> int:
    """Return how many processes the kernel has killed for want of memory since it started.

    It counts those of the machine's own shortage and those at the limit of a control group.
    """
    try:
        lines = COUNTERS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
