"""Probes that exceed limits of time, processes, memory and disk."""

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

BLOCK_BYTES = 64 << 20


def sleeps(ctx: Context, asleep: float) -> dict[str, float]:
    """Sleep; report the remaining time before and after."""
    begun = ctx.remaining()
    time.sleep(asleep)
    return {"begun": begun, "ended": ctx.remaining()}


def resists() -> NoReturn:
    """Ignore all signals that can be ignored, and loop, while a thread sleeps in C."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=time.sleep, args=(3600,), daemon=False).start()
    while True:
        pass


def leaves(ctx: Context, alive: float) -> None:
    """Start a child and a daemon, each with a heartbeat in the checkpoint; end after ``alive`` s.

    The daemon has forked twice and has its own session, so neither process group nor parent leads
    to it.
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
    """Fork a child that does the work and ends; return its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def beat(path: Path) -> None:
    """Write heartbeats for a minute at most, so that a failed check ends too."""
    for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_IGN)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with path.open("a", encoding="ascii") as file:
            file.write(".")
        time.sleep(0.02)


def hoards(gigabytes: float, *, spread: bool = False) -> None:
    """Fill memory; with ``spread``, in several children that are small each."""
    if spread:
        for _ in range(4):
            spawn(lambda: hoards(gigabytes / 4))
        time.sleep(20)
        return
    blocks = []
    for _ in range(int(gigabytes * (1 << 30) / BLOCK_BYTES)):
        blocks.append(b"\x01" * BLOCK_BYTES)
        time.sleep(0.02)
    time.sleep(5)


def copies(gigabytes: float, children: int) -> dict[str, int]:
    """Fill memory, and fork children that only read it."""
    block = b"\x01" * int(gigabytes * (1 << 30))
    for _ in range(children):
        spawn(lambda: time.sleep(len(block) and 0.4))
    for _ in range(children):
        os.wait()
    return {"bytes": len(block)}


def shares(gigabytes: float) -> None:
    """Fill shared memory."""
    block = mmap.mmap(-1, int(gigabytes * (1 << 30)))
    for start in range(0, len(block), BLOCK_BYTES):
        block[start : start + BLOCK_BYTES] = b"\x01" * BLOCK_BYTES
        time.sleep(0.02)
    time.sleep(5)


def outgrows(limit: int) -> dict[str, str]:
    """Write one byte beyond the largest size of a file; the file is sparse."""
    try:
        with Path("sparse").open("wb") as file:
            file.seek(limit)
            file.write(b"x")
    except OSError as error:
        return {"refused": str(error)}
    return {}


def fills(ctx: Context, folder: str, size: int) -> dict[str, str]:
    """Reserve space in a folder, or in ``scratch`` or ``out``, and free it at once."""
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
    """Fork sleeping children until that fails, at most ``limit``; kill them at the end."""
    made: list[int] = []
    with contextlib.suppress(OSError):
        while len(made) < limit:
            made.append(spawn(lambda: time.sleep(30)))
    for pid in made:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return {"made": len(made)}
