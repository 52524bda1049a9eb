"""Runs stages as processes of this machine: for laptops, the demo, CI without an engine.

It limits time and memory but isolates nothing: module code runs with your rights.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.executors.base import Result, StageJob

POLL_SECONDS = 0.05
EXIT_STATUSES = {
    0: "ok",
    10: "contract_violation",
    11: "module_error",
    13: "out_of_memory",
    99: "not_applicable",
}
ENVIRONMENT_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")


@dataclass
class _Running:
    """A started stage: its process group, and its oracle's."""

    job: StageJob
    begun: float
    pid: int = 0
    oracle_pid: int = 0
    oracle_ended: bool = False
    ended: tuple[int, int] | None = None
    peak: int = 0
    stopped: tuple[str, str] | None = None


class LocalExecutor:
    """Forks one worker a stage from a process in which torch is imported and nothing has run."""

    name = "local"
    contained = False

    def __init__(self) -> None:
        self._running: dict[str, _Running] = {}
        self._by_path: dict[str, _Running] = {}
        self._server: subprocess.Popen[bytes] | None = None
        self._pending = b""
        self._sockets = Path(tempfile.mkdtemp(prefix="gauntlet-"))

    def start(self, job: StageJob) -> None:
        """Begin a stage; its oracle first when it has one."""
        server = self._ensure_server()
        running = _Running(job, time.monotonic())
        self._running[job.key] = running
        jobs = [job]
        if job.service is not None:
            path = str(self._sockets / f"{job.key[:24]}.sock")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            for part in (job, job.service):
                part.job["inputs"]["socket"] = path
            self._launch(server, job.service, running)
            if not self._await_socket(Path(path), running):
                return
        for part in jobs:
            self._launch(server, part, running)

    def _launch(self, server: subprocess.Popen[bytes], job: StageJob, owner: _Running) -> None:
        job.folder.mkdir(parents=True, exist_ok=True)
        path = job.folder / "job.json"
        path.write_text(json.dumps(job.job), encoding="utf-8")
        self._by_path[str(path)] = owner
        if server.stdin is None:  # pragma: no cover - Popen was asked for a pipe
            raise RuntimeError("fork server without standard input")
        server.stdin.write(json.dumps({"start": str(path)}).encode() + b"\n")
        server.stdin.flush()

    def _await_socket(self, path: Path, running: _Running) -> bool:
        limit = time.monotonic() + 120
        while not path.exists():
            self._read_events(POLL_SECONDS)
            if running.oracle_ended or time.monotonic() > limit:
                reason = last_line(running.job.service)
                running.stopped = ("infra_error", f"the oracle did not start: {reason}")
                running.ended = (1, 0)
                return False
        return True

    def _ensure_server(self) -> subprocess.Popen[bytes]:
        if self._server is not None and self._server.poll() is None:
            return self._server
        environment = {k: os.environ[k] for k in ENVIRONMENT_KEPT if k in os.environ}
        environment |= {
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "HOME": str(self._sockets),
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        }
        self._server = subprocess.Popen(
            [sys.executable, "-m", "harness.runtime.forkserver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        if self._server.stdout is None:  # pragma: no cover - Popen was asked for a pipe
            raise RuntimeError("fork server without standard output")
        self._server.stdout.readline()  # {"ready": …}
        os.set_blocking(self._server.stdout.fileno(), False)
        return self._server

    def wait(self, timeout: float) -> list[tuple[StageJob, Result]]:
        """Stages that ended; enforces time and memory while it waits."""
        limit = time.monotonic() + timeout
        while True:
            self._read_events(min(POLL_SECONDS, max(0.0, limit - time.monotonic())))
            self._enforce()
            done = [r for r in self._running.values() if r.ended is not None]
            if done or time.monotonic() >= limit:
                return [(r.job, self._finish(r)) for r in done]

    def _read_events(self, timeout: float) -> None:
        server = self._server
        if server is None or server.stdout is None:
            return
        with selectors.DefaultSelector() as watch:
            watch.register(server.stdout, selectors.EVENT_READ)
            if not watch.select(timeout):
                return
        text = server.stdout.read()
        if not text:
            if server.poll() is not None:
                self._server_died()
            return
        *lines, self._pending = (self._pending + text).split(b"\n")
        for line in lines:
            self._note(json.loads(line))

    def _note(self, event: dict[str, Any]) -> None:
        path = event.get("started") or event.get("ended")
        running = self._by_path.get(str(path))
        if running is None:
            return
        own = str(running.job.folder / "job.json") == path
        if "started" in event:
            if own:
                running.pid = event["pid"]
            else:
                running.oracle_pid = event["pid"]
            return
        del self._by_path[str(path)]
        if own:
            running.ended = (event["code"], event["signal"])
        else:
            running.oracle_ended = True

    def _server_died(self) -> None:
        for running in self._running.values():
            running.stopped = ("infra_error", "the fork server died")
            running.ended = (1, 0)
        self._by_path.clear()
        self._server = None

    def _enforce(self) -> None:
        """Stop what is over its time or memory."""
        for running in self._running.values():
            if running.ended is not None or not running.pid or running.stopped is not None:
                continue
            job = running.job
            memory = group_memory(running.pid)
            running.peak = max(running.peak, memory)
            if memory > job.memory_gb * (1 << 30):
                running.stopped = (
                    "out_of_memory",
                    f"host memory: used more than its limit of {job.memory_gb:g} GiB",
                )
            elif time.monotonic() - running.begun > job.seconds:
                running.stopped = ("timeout", f"stopped at its limit of {job.seconds:g} s")
            if running.stopped:
                kill_group(running.pid)

    def _finish(self, running: _Running) -> Result:
        """Read the outcome after every process of the stage is dead."""
        del self._running[running.job.key]
        if running.pid:
            kill_group(running.pid)
        if running.job.service is not None:
            self._stop_oracle(running)
        seconds = time.monotonic() - running.begun
        if running.stopped:
            return Result(*running.stopped, seconds=seconds, peak_memory=running.peak)
        code, number = running.ended or (1, 0)
        return read_outcome(running.job, code, number, seconds, running.peak)

    def _stop_oracle(self, running: _Running) -> None:
        if running.oracle_pid and not running.oracle_ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.oracle_pid, signal.SIGTERM)
            limit = time.monotonic() + 10
            while time.monotonic() < limit:
                self._read_events(POLL_SECONDS)
                if running.oracle_ended:
                    break
            kill_group(running.oracle_pid)

    def close(self) -> None:
        """Stop everything; the fork server kills its children when its input closes."""
        for running in self._running.values():
            for pid in (running.pid, running.oracle_pid):
                if pid:
                    kill_group(pid)
        self._running.clear()
        if self._server is not None and self._server.stdin is not None:
            self._server.stdin.close()
            try:
                self._server.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            if self._server.stdout is not None:
                self._server.stdout.close()
        self._server = None
        shutil.rmtree(self._sockets, ignore_errors=True)


def read_outcome(job: StageJob, code: int, number: int, seconds: float, peak: int) -> Result:
    """Join the exit code with ``outcome.json``; either alone is not believed."""
    if number:
        reason = f"killed by {signal.Signals(number).name}"
        return Result("module_error", reason, seconds, peak_memory=peak, exit_code=-number)
    try:
        outcome = json.loads((job.folder / "outcome.json").read_text(encoding="utf-8"))
        status, reason = str(outcome["status"]), str(outcome["reason"])
        hook_seconds, passes = float(outcome["hook_seconds"]), dict(outcome["passes"])
        device_memory = outcome["device_memory"]
    except (OSError, ValueError, KeyError, TypeError):
        reason = f"ended with exit code {code} and left no outcome: {last_line(job)}"
        return Result("module_error", reason, seconds, peak_memory=peak, exit_code=code)
    if EXIT_STATUSES.get(code) != status:
        reason = f"exit code {code} contradicts its outcome, which claims {status!r}"
        return Result("contract_violation", reason, seconds, peak_memory=peak, exit_code=code)
    return Result(status, reason, seconds, hook_seconds, peak, passes, device_memory, code)


def last_line(job: StageJob | None) -> str:
    """The last line of a stage's log, for a reason."""
    if job is None:
        return "no job"
    try:
        with (job.folder / "log.txt").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return "no log"
    return lines[-1][:300] if lines else "empty log"


def kill_group(pid: int) -> None:
    """Kill a stage's whole process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def group_memory(group: int) -> int:
    """Bytes of private resident memory of a process group.

    RLIMIT_AS will not do: torch maps 3 GB of address space before it does anything.
    """
    total = 0
    for pid in group_members(group):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
                if line.startswith(("RssAnon:", "RssShmem:")):
                    total += int(line.split()[1]) * 1024
    return total


def group_members(group: int) -> list[int]:
    """Processes of a group: the leader and its descendants, walked through ``/proc``."""
    found, queue = [], [group]
    while queue:
        pid = queue.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
            queue += [int(child) for child in children.split()]
    return found
