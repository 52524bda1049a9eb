"""Names of harnesses, in the labels of what they make on an engine."""

from __future__ import annotations

import os
from pathlib import Path


def owner() -> str:
    """Return this harness's identity: PID namespace, PID and start time."""
    return f"{os.readlink('/proc/self/ns/pid')} {os.getpid()} {start_time(os.getpid())}"


def is_dead(name: str) -> bool:
    """Return whether the harness of that identity has ended; false if it is invisible from here."""
    namespace, _, rest = name.partition(" ")
    pid, _, started = rest.partition(" ")
    return namespace == os.readlink("/proc/self/ns/pid") and started != start_time(int(pid))


def start_time(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; ``""`` where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *fields = text.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]
