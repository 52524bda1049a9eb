"""Watches one stage inside its container, sends home what it left, and wipes; see ``warden``.

It runs beside the stage with the same rights, so the stage can kill it: then the container ends.
Nothing of what it says is worth more than what the stage could have written itself, but for how the
stage ended, which the harness checks against its own clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from harness.runtime.worker import cgroup
from harness.runtime.worker.output_files import find_irregular_file
from harness.runtime.worker.protocol import PIECE, Orders
from harness.runtime.worker.spawn import become

HOME = Path("/stage/job")
SHARED = Path("/dev/shm")  # noqa: S108 - in a container it is its own
GRANTED = Path("/box/checkpoint")
"""What an earlier try of the stage kept; read-only, so that it is copied."""
TICK = 0.1
SYNC_SECONDS = 0.5
"""A changed checkpoint goes home this often, so that it survives whoever is killed."""
LOG_HEAD = 1 << 20
LOG_TAIL = 64 << 10
"""Bytes of a log that go home; what lies between is counted only."""
GIB = 1 << 30


def keep(line: socket.socket) -> NoReturn:
    """Take one order and end; the exit code says whether the container is as before."""
    code = 1
    try:
        orders = Orders(line)
        order = orders.read()
        if order is not None and "job" in order[0]:
            Keeper(orders, order[0]).keep(order[1])
        code = 0 if order is not None else 1
    finally:
        os._exit(code)


class Keeper:
    """One stage, from its order to an empty container."""

    def __init__(self, orders: Orders, order: dict[str, Any]) -> None:
        self._orders, self._order = orders, order
        self._stopped: tuple[str, str] | None = None
        self._peak = 0
        self._sent: dict[str, tuple[int, int]] = {}
        self._logged, self._tail = 0, b""
        self._kills = cgroup.out_of_memory_kills()

    def keep(self, listener: int | None) -> None:
        """Fork the stage, watch it, send home what it left, and wipe."""
        (HOME / "tmp").mkdir(parents=True)
        checkpoint = HOME / "checkpoint"
        if GRANTED.is_dir():
            shutil.copytree(GRANTED, checkpoint, copy_function=shutil.copyfile)
        checkpoint.mkdir(exist_ok=True)
        self._sent = dict(plain_files(checkpoint))
        path = HOME / "job.json"
        path.write_text(json.dumps(self._order["job"]), encoding="utf-8")
        self._log, log = os.pipe2(os.O_CLOEXEC)
        wakeup, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write_end)
        if listener is not None:  # it may be told to stop before it has begun to answer
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        self._begun = time.monotonic()
        self._stage = os.fork()
        if self._stage == 0:
            become(path, log, listener)
        if listener is not None:
            os.close(listener)  # the log's writing end stays: its reading end never hangs up
        self._orders.say({"started": True})
        code = self._watch(wakeup)
        silence()
        self._take_log(last=True)
        self._go_home(code)
        wipe()
        self._orders.say({"clean": True})

    # -- while it runs ------------------------------------------------------------------------

    def _watch(self, wakeup: int) -> int:
        """Wait for the end of the stage, enforcing its limits; returns its exit status."""
        waiting = select.poll()
        for number in (wakeup, self._log, self._orders.fileno()):
            waiting.register(number, select.POLLIN)
        synced = sampled = self._begun
        while True:
            events = dict(waiting.poll(1000 * TICK))
            if self._orders.fileno() in events:
                self._obey()
            if self._log in events:
                self._take_log()
            if wakeup in events:
                os.read(wakeup, 4096)
                pid, status = os.waitpid(self._stage, os.WNOHANG)
                if pid:
                    self._sample()
                    return status
            now = time.monotonic()
            if now - sampled >= TICK:
                sampled = now
                self._enforce(now)
            if now - synced >= SYNC_SECONDS:
                self._sync()
                synced = time.monotonic()

    def _obey(self) -> None:
        order = self._orders.read()
        if order is None:
            os._exit(1)
        if "stop" in order[0]:
            os.kill(self._stage, signal.SIGTERM)

    def _enforce(self, now: float) -> None:
        self._sample()
        limit = self._order["seconds"]
        if now - self._begun > limit:
            self._stop("timeout", f"stopped at its limit of {limit:g} s")

    def _sample(self) -> None:
        """Note memory; a kill for want of it is the stage's end, whichever process it struck."""
        self._peak = max(self._peak, cgroup.memory_used())
        if cgroup.out_of_memory_kills() > self._kills:
            limit = self._order["memory_gb"]
            reason = f"host memory: used more than its limit of {limit:g} GiB"
            self._stop("out_of_memory", reason)

    def _stop(self, status: str, reason: str) -> None:
        self._stopped = self._stopped or (status, reason)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._stage, signal.SIGKILL)

    def _take_log(self, *, last: bool = False) -> None:
        """Send a log's head as it comes, keep its tail."""
        os.set_blocking(self._log, False)
        with contextlib.suppress(BlockingIOError):
            while text := os.read(self._log, PIECE):
                head = text[: max(0, LOG_HEAD - self._logged)]
                if head:
                    self._orders.say({"log": True}, head)
                self._logged += len(text)
                self._tail = (self._tail + text[len(head) :])[-LOG_TAIL:]
                if not last:
                    break
        if last and self._tail:
            left_out = self._logged - LOG_HEAD - len(self._tail)
            gap = f"\n… {left_out} bytes left out …\n".encode() if left_out else b""
            self._orders.say({"log": True}, gap + self._tail)

    def _sync(self) -> None:
        """Send home what has changed in the checkpoint, and say what is there."""
        folder = HOME / "checkpoint"
        found = {} if folder.is_symlink() else dict(plain_files(folder))
        if found == self._sent or self._too_much(found):
            return
        for name, state in found.items():
            if self._sent.get(name) != state:
                with contextlib.suppress(OSError):
                    self._orders.send({"checkpoint": name}, folder / name)
        self._orders.say({"kept": sorted(found)})
        self._sent = found

    def _too_much(self, files: dict[str, tuple[int, int]]) -> str:
        """Why so many bytes do not go home, or ``""``; a file with holes claims more than it is."""
        size, limit = sum(size for _, size in files.values()), self._order["disk_bytes"]
        return f"the output claims {size} bytes, the limit is {limit}" if size > limit else ""

    # -- when every process of it is dead -----------------------------------------------------

    def _go_home(self, status: int) -> None:
        """Send outcome and output, or why not, and how the stage ended."""
        code = os.waitstatus_to_exitcode(status)
        refused = find_irregular_file(HOME / "out")
        files = {} if refused else dict(plain_files(HOME / "out"))
        refused = refused or self._too_much(files)
        self._sync()
        with contextlib.suppress(OSError):
            self._orders.send({"file": "outcome.json"}, HOME / "outcome.json")
        if not refused:
            for name in folders(HOME / "out"):
                self._orders.say({"folder": f"out/{name}" if name else "out"})
            for name in files:
                self._orders.send({"file": f"out/{name}"}, HOME / "out" / name)
        self._orders.say(
            {
                "ended": [max(code, 0), max(-code, 0)],
                "stopped": self._stopped,
                "refused": refused,
                "peak": self._peak,
            }
        )


def silence() -> None:
    """Kill every process but process 1, which reaps, and this one; wait until they are gone."""
    own = {"1", str(os.getpid())}
    while True:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not [name for name in os.listdir("/proc") if name.isdigit() and name not in own]:
            return
        time.sleep(0.002)


def walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every entry below a folder; no link is followed, and what vanishes meanwhile is left out."""
    stack = [folder]
    while stack:
        with contextlib.suppress(FileNotFoundError), os.scandir(stack.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    stack.append(Path(entry.path))


def plain_files(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Relative name → time and size, of every plain file."""
    for entry in walk(folder):
        with contextlib.suppress(FileNotFoundError):
            if entry.is_file(follow_symlinks=False):
                found = entry.stat(follow_symlinks=False)
                name = os.path.relpath(entry.path, folder)
                yield name, (found.st_mtime_ns, found.st_size)


def folders(folder: Path) -> list[str]:
    """Relative names of every folder, the first one (``""``) too."""
    inside = (e.path for e in walk(folder) if e.is_dir(follow_symlinks=False))
    return ["", *(os.path.relpath(path, folder) for path in inside)]


def wipe() -> None:
    """Empty every writable place; process 1 looks whether it is so."""
    shutil.rmtree(HOME, ignore_errors=True)
    for place in (HOME.parent, SHARED):
        for entry in list(os.scandir(place)) if place.is_dir() else ():
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
