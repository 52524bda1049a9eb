"""Supervisor of one stage inside its container; see ``container_init``.

It runs beside the stage with the same rights, so the stage can kill it; the container then ends.
Its messages are worth no more than what the stage could have written itself, except how the stage
ended, which the harness checks against its own clock.
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
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from harness.runtime.worker import cgroup
from harness.runtime.worker.log_relay import LogRelay
from harness.runtime.worker.outcome_pipe import collect, open_pipe
from harness.runtime.worker.output_files import (
    FileState,
    find_irregular_file,
    plain_files,
    subfolders,
)
from harness.runtime.worker.protocol import Channel, RunStage, StopStage
from harness.runtime.worker.spawn import run_stage

HOME = Path("/stage/job")
SHARED = Path("/dev/shm")  # noqa: S108 - in a container it is its own
GRANTED_CHECKPOINT = Path("/box/checkpoint")
"""Checkpoint of an earlier attempt; read-only, so it is copied."""
TICK_SECONDS = 0.1
"""Time between two checks of the limits."""
REPORT_SECONDS = 3.0
"""Time in which a service that reached a limit must report what its attack did, before the kill."""
SYNC_SECONDS = 0.5
"""Time between two transfers of a changed checkpoint, so that it survives any kill."""


def supervise(connection: socket.socket) -> NoReturn:
    """Run one stage and end the process; exit code 0 says that the container is clean again."""
    code = 1
    try:
        channel = Channel(connection)
        message = channel.receive()
        # a stop that crossed the end of an earlier service: an order may have come with it
        while isinstance(message, StopStage) and channel.has_more():
            message = channel.receive()
        if isinstance(message, RunStage):
            Supervisor(channel, message).run()
        code = 1 if message is None else 0
    finally:
        os._exit(code)


class Supervisor:
    """Supervisor of one stage, from its start until the container is empty again.

    Args:
        channel: connection to the harness.
        stage: message to run the stage.
    """

    def __init__(self, channel: Channel, stage: RunStage) -> None:
        self._channel, self._stage = channel, stage
        self._stopped: tuple[str, str] | None = None
        self._kill_at = 0.0
        self._peak = 0
        self._sent: dict[str, FileState] = {}
        self._kills = cgroup.out_of_memory_kills()

    def run(self) -> None:
        """Fork the stage, watch it, send its output, and empty the container."""
        (HOME / "tmp").mkdir(parents=True)
        checkpoint = HOME / "checkpoint"
        if GRANTED_CHECKPOINT.is_dir():
            shutil.copytree(GRANTED_CHECKPOINT, checkpoint, copy_function=shutil.copyfile)
        checkpoint.mkdir(exist_ok=True)
        self._sent = plain_files(checkpoint)
        path = HOME / "job.json"
        path.write_text(json.dumps(self._stage.job), encoding="utf-8")
        self._log, log = os.pipe2(os.O_CLOEXEC)
        self._relay = LogRelay(self._channel, self._log)
        wakeup, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write_end)
        listener = self._stage.listener
        self._outcome, outcome = open_pipe()
        if listener is not None:  # SIGTERM may come before the service is ready for it
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        # before the fork: from here on, what ends the container may be the stage's doing
        self._channel.send({"started": True})
        self._begun = time.monotonic()
        self._pid = os.fork()
        if self._pid == 0:
            run_stage(path, log, outcome, listener)
        os.close(outcome)
        if listener is not None:
            os.close(listener)
        # the writing end of the log stays open, so that its reading end never reports a hang-up
        status = self._watch(wakeup)
        kill_all()
        self._relay.finish()
        self._send_output(status)
        empty_writable_folders()
        self._channel.send({"clean": True})

    # -- while the stage runs -----------------------------------------------------------------

    def _watch(self, wakeup: int) -> int:
        """Wait until the stage ends, enforcing its limits; return its wait status."""
        poll = select.poll()
        for descriptor in (wakeup, self._log, self._channel.fileno()):
            poll.register(descriptor, select.POLLIN)
        synced = sampled = self._begun
        while True:
            events = dict(poll.poll(1000 * TICK_SECONDS))
            if self._channel.fileno() in events:
                self._read_message()
            if self._log in events:
                self._relay.relay()
            if wakeup in events:
                os.read(wakeup, 4096)
                pid, status = os.waitpid(self._pid, os.WNOHANG)
                if pid:
                    self._sample_memory()
                    return status
            now = time.monotonic()
            if now - sampled >= TICK_SECONDS:
                sampled = now
                self._enforce_limits(now)
            if now - synced >= SYNC_SECONDS:
                self._sync_checkpoint()
                synced = time.monotonic()

    def _read_message(self) -> None:
        message = self._channel.receive()
        if message is None:
            os._exit(1)
        if isinstance(message, StopStage):
            self._signal(signal.SIGTERM)

    def _enforce_limits(self, now: float) -> None:
        self._sample_memory()
        limit = self._stage.seconds
        if self._stopped and now > self._kill_at:
            self._signal(signal.SIGKILL)
        elif now - self._begun > limit:
            self._stop("timeout", f"stopped at its limit of {limit:g} s")

    def _sample_memory(self) -> None:
        """Note the memory in use; stop the stage if the kernel killed any process of it."""
        self._peak = max(self._peak, cgroup.memory_used())
        if cgroup.out_of_memory_kills() == self._kills:
            return
        limit = self._stage.memory_gb
        if cgroup.has_room():
            reason = f"the machine ran out of memory, below the stage's limit of {limit:g} GiB"
            self._stop("infra_error", reason)
        else:
            reason = f"host memory: used more than its limit of {limit:g} GiB"
            self._stop("out_of_memory", reason)

    def _stop(self, status: str, reason: str) -> None:
        if self._stopped:
            return
        self._stopped = (status, reason)
        if self._stage.listener is None:
            self._signal(signal.SIGKILL)
        else:
            self._kill_at = time.monotonic() + REPORT_SECONDS
            self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)

    def _sync_checkpoint(self) -> None:
        """Send the changed files of the checkpoint, then the names of all of its files."""
        folder = HOME / "checkpoint"
        found = {} if folder.is_symlink() else plain_files(folder)
        if found == self._sent or self._check_size(found):
            return
        for name, state in found.items():
            if self._sent.get(name) != state:
                with contextlib.suppress(OSError):
                    self._channel.send_file({"checkpoint": name}, folder / name)
        self._channel.send({"kept": sorted(found)})
        self._sent = found

    def _check_size(self, files: Mapping[str, FileState]) -> str:
        """Return why files are too large to send, or ``""``; sparse files claim their full size."""
        size, limit = sum(state.size for state in files.values()), self._stage.disk_bytes
        return f"the output claims {size} bytes, the limit is {limit}" if size > limit else ""

    # -- when every process of the stage is dead ----------------------------------------------

    def _send_output(self, status: int) -> None:
        """Send output, outcome and how the stage ended; refused output stays behind."""
        code = os.waitstatus_to_exitcode(status)
        refused = find_irregular_file(HOME / "out")
        files = {} if refused else plain_files(HOME / "out")
        refused = refused or self._check_size(files)
        self._sync_checkpoint()
        if not refused:
            for name in subfolders(HOME / "out"):
                self._channel.send({"folder": f"out/{name}" if name else "out"})
            for name in files:
                self._channel.send_file({"file": f"out/{name}"}, HOME / "out" / name)
        self._channel.send(
            {
                "ended": [max(code, 0), max(-code, 0)],
                "outcome": collect(self._outcome),
                "stopped": self._stopped,
                "refused": refused,
                "peak": self._peak,
            }
        )


def kill_all() -> None:
    """Kill all processes but this one and process 1, which reaps; wait until they are gone."""
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


def empty_writable_folders() -> None:
    """Empty every folder in which a stage can write; process 1 checks that they are empty."""
    shutil.rmtree(HOME, ignore_errors=True)
    for folder in (HOME.parent, SHARED):
        for entry in list(os.scandir(folder)) if folder.is_dir() else ():
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
