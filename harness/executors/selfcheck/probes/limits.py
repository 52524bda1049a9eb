"""Probes that take more than they may: time, processes, memory, disk."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from harness.runtime.contracts import Context

HEAVY = 64 << 20


def sleeps(ctx: Context, asleep: float) -> dict[str, float]:
    """Sleep, and say what time was left before and after."""
    begun = ctx.remaining()
    time.sleep(asleep)
    return {"begun": begun, "ended": ctx.remaining()}


def resists() -> NoReturn:
    """Ignore every signal that can be ignored, and spin; a thread sleeps in C meanwhile."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=time.sleep, args=(3600,), daemon=False).start()
    while True:
        pass


def leaves(ctx: Context, alive: float) -> None:
    """Start a child and a daemon, each with a heartbeat in the checkpoint; end after ``alive`` s.

    The daemon forks twice and has a session of its own: no process group and no parent names it.
    """
    spawn(lambda: beat(ctx.checkpoint / "child.beat"))

    def daemon() -> None:
        os.setsid()
        spawn(lambda: beat(ctx.checkpoint / "daemon.beat"))

    os.waitpid(spawn(daemon), 0)
    for name in ("child.beat", "daemon.beat"):
        while not (ctx.checkpoint / name).exists():
            time.sleep(0.005)
    time.sleep(alive)


def spawn(work: Callable[[], None]) -> int:
    """Fork; the child does the work and ends."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def beat(path: Path) -> None:
    """Show that this process lives; gives up after a minute, so that a failed check ends too."""
    for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_IGN)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with path.open("a", encoding="ascii") as file:
            file.write(".")
        time.sleep(0.02)


def hoards(gigabytes: float, *, spread: bool = False) -> None:
    """Fill memory; with ``spread``, in several children that each stay small."""
    if spread:
        for _ in range(4):
            spawn(lambda: hoards(gigabytes / 4))
        time.sleep(20)
        return
    kept = []
    for _ in range(int(gigabytes * (1 << 30) / HEAVY)):
        kept.append(b"\x01" * HEAVY)
        time.sleep(0.02)
    time.sleep(5)


def copies(gigabytes: float, children: int) -> dict[str, int]:
    """Fill memory, and fork children that only look at it."""
    kept = b"\x01" * int(gigabytes * (1 << 30))
    for _ in range(children):
        spawn(lambda: time.sleep(len(kept) and 0.4))
    for _ in range(children):
        os.wait()
    return {"bytes": len(kept)}


def shares(gigabytes: float) -> None:
    """Fill shared memory, which counts like any other."""
    block = mmap.mmap(-1, int(gigabytes * (1 << 30)))
    for start in range(0, len(block), HEAVY):
        block[start : start + HEAVY] = b"\x01" * HEAVY
        time.sleep(0.02)
    time.sleep(5)


def outgrows(limit: int) -> dict[str, str]:
    """Write one byte beyond a file's largest size; the file is sparse."""
    try:
        with Path("sparse").open("wb") as file:
            file.seek(limit)
            file.write(b"x")
    except OSError as error:
        return {"refused": str(error)}
    return {}


def fills(ctx: Context, folder: str, size: int) -> dict[str, str]:
    """Reserve space in a folder, or in ``scratch`` or ``out``; given back at once."""
    named = {"scratch": ctx.scratch, "out": ctx.state.parent}
    path = named.get(folder, Path(folder)) / "gauntlet-selfcheck-fill"
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        return {"refused": str(error)}
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
    return {}


def multiplies(limit: int) -> dict[str, int]:
    """Fork sleepers until it is refused, at most ``limit``; all are killed before the end."""
    made: list[int] = []
    with contextlib.suppress(OSError):
        while len(made) < limit:
            made.append(spawn(lambda: time.sleep(30)))
    for pid in made:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return {"made": len(made)}
