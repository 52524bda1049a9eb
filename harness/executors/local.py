"""Executor that runs stages as processes of this machine: for laptops, CI and the demo.

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
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from harness.common.errors import UserError
from harness.common.status import By, Status
from harness.executors.base import STAGE_ENVIRONMENT, Result, StageJob
from harness.executors.outcome import oracle_failure, read_outcome, sanitize

POLL_SECONDS = 0.05
GIB = 1 << 30
INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")
"""Variables that stages inherit from the harness."""


class Stop(NamedTuple):
    """Reason why the harness stopped a stage, and the party that it is attributed to."""

    status: Status
    reason: str
    by: By | None = None


@dataclass
class _Running:
    """Started stage with its process group, and its oracle's."""

    job: StageJob
    begun: float
    pid: int = 0
    socket: Path | None = None  # of the oracle that has to listen before the attack is ordered
    oracle_pid: int = 0
    oracle_ended: tuple[int, int] | None = None
    ended: tuple[int, int] | None = None
    peak: int = 0
    stopped: Stop | None = None


class LocalExecutor:
    """Forks one worker a stage from a server process that has imported torch and run nothing."""

    name = "local"
    contained = False

    def __init__(self) -> None:
        self._running: dict[str, _Running] = {}
        self._by_path: dict[str, _Running] = {}
        self._server: subprocess.Popen[bytes] | None = None
        self._pending = b""
        self._sockets = Path(tempfile.gettempdir()) / f"gauntlet-{uuid.uuid4().hex[:12]}"

    def start(self, job: StageJob) -> None:
        """Start a stage; its oracle first when it has one."""
        server = self._ensure_server()
        job = on_gpu(job)
        if job.service is None:
            running = self._running[job.key] = _Running(job, time.monotonic())
            self._launch(server, job, running)
            return
        path = self._sockets / f"{job.key[:24]}.sock"
        path.unlink(missing_ok=True)
        service = replace(job.service, file=job.service.file.with_inputs(socket=str(path)))
        job = replace(job, file=job.file.with_inputs(socket=str(path)), service=service)
        running = self._running[job.key] = _Running(job, time.monotonic(), socket=path)
        self._launch(server, service, running)

    def _launch(self, server: subprocess.Popen[bytes], job: StageJob, owner: _Running) -> None:
        job.folder.mkdir(parents=True, exist_ok=True)
        path = job.folder / "job.json"
        path.write_text(json.dumps(job.file.to_json()), encoding="utf-8")
        self._by_path[str(path)] = owner
        if server.stdin is None:  # pragma: no cover - Popen was asked for a pipe
            raise RuntimeError("fork server without standard input")
        try:
            server.stdin.write(json.dumps({"start": str(path)}).encode() + b"\n")
            server.stdin.flush()
        except BrokenPipeError:
            self._server_died()

    def _join_oracles(self) -> None:
        """Start an attack once its oracle listens; stop it when its oracle has ended."""
        for running in self._running.values():
            service = running.job.service
            if service is None or running.ended is not None:
                continue
            if running.oracle_ended is not None:
                self._stop(running, self._oracle_failure(service, *running.oracle_ended))
            elif running.socket is not None and running.socket.exists():
                running.socket = None
                server = self._ensure_server()
                if running.ended is None:  # the fork server may have died, and the oracle with it
                    self._launch(server, running.job, running)

    def _oracle_failure(self, service: StageJob, code: int, number: int) -> Stop:
        return Stop(*oracle_failure(service, read_outcome(service, code, number, 0.0, 0)))

    def _ensure_server(self) -> subprocess.Popen[bytes]:
        if self._server is not None and self._server.poll() is None:
            return self._server
        if self._server is not None:
            self._server_died()  # before a new one takes its place: its stages end with it
        environment = {k: os.environ[k] for k in INHERITED if k in os.environ}
        environment |= STAGE_ENVIRONMENT | {
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "HOME": str(self._sockets),
            "TMPDIR": str(self._sockets),  # short: names of sockets may have 107 bytes
        }
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "harness.runtime.worker.forkserver", str(self._sockets)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        if self._server.stdout is None:  # pragma: no cover - Popen was asked for a pipe
            raise RuntimeError("fork server without standard output")
        if not self._server.stdout.readline():  # {"ready": …}
            self._server_died()
            raise UserError(
                "local executor", "its fork server did not start", "see the lines above"
            )
        os.set_blocking(self._server.stdout.fileno(), False)
        return self._server

    def wait(self, timeout: float) -> list[tuple[StageJob, Result]]:
        """Return the stages that ended; enforce time and memory meanwhile."""
        limit = time.monotonic() + timeout
        while True:
            self._read_events(min(POLL_SECONDS, max(0.0, limit - time.monotonic())))
            self._join_oracles()
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

    def _note(self, event: Mapping[str, Any]) -> None:
        """Note an event of the fork server: a stage or an oracle has started or ended."""
        path = event.get("started") or event.get("ended")
        running = self._by_path.get(str(path))
        if running is None:
            return
        own = str(running.job.folder / "job.json") == path
        if "started" in event:
            if not running.oracle_pid:  # earlier, the fork server may have been importing
                running.begun = time.monotonic()
            if own:
                running.pid = event["pid"]
            else:
                running.oracle_pid = event["pid"]
            return
        del self._by_path[str(path)]
        if own:
            running.ended = (event["code"], event["signal"])
        else:
            running.oracle_ended = (event["code"], event["signal"])

    def _server_died(self) -> None:
        for running in self._running.values():
            self._stop(running, Stop("infra_error", "the fork server died"))
            running.ended, running.oracle_ended = (1, 0), running.oracle_ended or (1, 0)
        self._by_path.clear()
        if self._server is not None:
            self._server.wait()
            for stream in (self._server.stdin, self._server.stdout):
                with contextlib.suppress(BrokenPipeError):
                    if stream is not None:
                        stream.close()
        self._server, self._pending = None, b""

    def _enforce(self) -> None:
        """Stop stages that exceed their time or memory."""
        for running in self._running.values():
            begun = running.oracle_pid if running.socket else running.pid
            if not begun or running.ended is not None or running.stopped is not None:
                continue
            job = running.job
            groups = [pid for pid in (running.pid, running.oracle_pid) if pid]
            memory = group_memory(groups)
            if memory > job.memory_gb * GIB:
                memory = group_memory(groups, exact=True)
            running.peak = max(running.peak, memory)
            if memory > job.memory_gb * GIB:
                reason = f"host memory: used more than its limit of {job.memory_gb:g} GiB"
                self._stop(running, Stop("out_of_memory", reason))
            elif time.monotonic() - running.begun > job.seconds:
                reason = f"stopped at its limit of {job.seconds:g} s"
                self._stop(running, Stop("timeout", reason))

    def _stop(self, running: _Running, why: Stop) -> None:
        """Kill a stage; it has ended when the fork server reports it, or now if it never ran."""
        running.stopped = running.stopped or why
        for pid in (running.pid, running.oracle_pid):
            if pid:
                kill_group(pid)
        if running.socket is not None:
            running.ended = (1, 0)

    def _finish(self, running: _Running) -> Result:
        """Return the result, after every process of the stage is dead."""
        del self._running[running.job.key]
        if running.job.service is not None:
            if running.oracle_ended is not None and running.stopped is None:
                running.stopped = self._oracle_failure(running.job.service, *running.oracle_ended)
            self._stop_oracle(running)
            sanitize(running.job.service.folder)
        seconds = time.monotonic() - running.begun
        refused = sanitize(running.job.folder)
        if running.stopped:
            status, reason, by = running.stopped
            return Result(status, reason, seconds, peak_memory=running.peak, by=by)
        code, number = running.ended or (1, 0)
        result = read_outcome(running.job, code, number, seconds, running.peak, refused)
        service = running.job.service
        if service is None or result.status == "ok":
            return result
        # an oracle that fails as it answers ends its attack too, whose end may be noticed first
        code, number = running.oracle_ended or (0, 1)
        if number or (served := read_outcome(service, code, 0, 0.0, 0)).status == "ok":
            return result
        status, reason, by = oracle_failure(service, served)
        return replace(result, status=status, reason=reason, by=by)

    def _stop_oracle(self, running: _Running) -> None:
        if running.oracle_pid and running.oracle_ended is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.oracle_pid, signal.SIGTERM)
            limit = time.monotonic() + 10
            while time.monotonic() < limit:
                self._read_events(POLL_SECONDS)
                if running.oracle_ended is not None:
                    break
            kill_group(running.oracle_pid)

    def leaked_processes(self) -> list[str]:
        """Return processes below the fork server that belong to no running stage."""
        if self._server is None or self._server.poll() is not None:
            return []
        running = (pid for r in self._running.values() for pid in (r.pid, r.oracle_pid) if pid)
        known = {self._server.pid, *(one for pid in running for one in group_members(pid))}
        return [str(pid) for pid in group_members(self._server.pid) if pid not in known]

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


def on_gpu(job: StageJob) -> StageJob:
    """Return a job whose stage, and its oracle, use the GPU that is reserved for it."""
    if job.gpu is None:
        return job
    service = job.service and on_gpu(job.service)
    return replace(job, file=replace(job.file, device=f"cuda:{job.gpu}"), service=service)


def kill_group(pid: int) -> None:
    """Kill a stage's whole process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def group_memory(groups: Iterable[int], *, exact: bool = False) -> int:
    """Return the bytes of private and shared memory of process groups.

    Without ``exact``, pages that processes share since a fork count for each: too much, but a
    thousand times faster. RLIMIT_AS cannot be used: torch maps 3 GB before it does anything.
    """
    total = 0
    for pid in (pid for group in groups for pid in group_members(group)):
        shares = exact and kibibytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss_Anon:", "Pss_Shmem:")
        total += shares or kibibytes(Path(f"/proc/{pid}/status"), "RssAnon:", "RssShmem:")
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
