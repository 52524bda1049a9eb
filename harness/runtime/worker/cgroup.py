"""What the kernel counts for this container: memory in use, and kills for want of it.

Both hierarchies of control groups are in use; Docker mounts the container's own part read-only.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
USED = {
    ROOT / "memory.stat": ("anon", "shmem"),  # version 2
    ROOT / "memory" / "memory.stat": ("total_rss", "total_shmem"),  # version 1
}
KILLS = (ROOT / "memory.events", ROOT / "memory" / "memory.oom_control")


def counters(path: Path) -> dict[str, int]:
    """A file of ``name number`` lines; empty when it is not there."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def memory_used() -> int:
    """Bytes of private and shared memory, files in memory (tmpfs) included; 0 if untold."""
    for path, names in USED.items():
        if found := counters(path):
            # version 2 counts shared memory beside anon, version 1 beside rss
            return sum(found.get(name, 0) for name in names)
    return 0


def out_of_memory_kills() -> int:
    """How many processes the kernel killed here because memory was at its limit."""
    return sum(counters(path).get("oom_kill", 0) for path in KILLS)
