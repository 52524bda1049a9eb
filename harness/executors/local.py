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
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from harness.common.errors import UserError
from harness.common.status import Status
from harness.executors.base import STAGE_ENVIRONMENT, Result, StageJob
from harness.executors.oom_kills import count_oom_kills
from harness.executors.outcome import ProcessEnd, read_outcome, sanitize
from harness.executors.process_groups import group_members, kill_group, kill_members, used_memory
from harness.executors.service import (
    NETWORK_FAILED,
    NOT_STOPPED,
    STOP_SECONDS,
    ServiceEnd,
    combine,
    ended_badly,
    service_end,
)

POLL_SECONDS = 0.05
GIB = 1 << 30
INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")
"""Variables that stages inherit from the harness."""
NEVER_RAN = ProcessEnd(1, 0, None)


class Stop(NamedTuple):
    """Reason why the harness stopped a stage."""

    status: Status
    reason: str


@dataclass
class _Process:
    """Process group of a stage, or of the service beside one.

    Attributes:
        job: its job.
        begun: time of its start.
        pid: leader of the group; 0 until the fork server has reported it.
        peak: bytes of memory.
        stopped: why the harness stopped it.
        asked: time at which it was asked to end, or 0.
        end: how it ended; then none of its processes is left.
        oom_kills: processes that the kernel had killed for want of memory before it.
    """

    job: StageJob
    begun: float = field(default_factory=time.monotonic)
    pid: int = 0
    peak: int = 0
    stopped: Stop | None = None
    asked: float = 0.0
    end: ProcessEnd | None = None
    oom_kills: int = field(default_factory=count_oom_kills)

    def stop(self, why: Stop) -> None:
        """Kill the group, unless it has ended; the fork server reports when it is gone."""
        if self.end is None:
            self.stopped = self.stopped or why
            kill_group(self.pid)

    def ask(self) -> None:
        """Ask a service to report and end (SIGTERM), once."""
        if self.pid and not self.asked and self.end is None:
            self.asked = time.monotonic()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    @cached_property
    def result(self) -> Result:
        """Result, to be read when every process of the group is dead."""
        seconds = time.monotonic() - self.begun
        refused = sanitize(self.job.folder)
        if self.stopped is not None:
            status, reason = self.stopped
            return Result(status, reason, seconds, peak_memory=self.peak)
        end = self.end or NEVER_RAN
        if end.number == signal.SIGKILL and count_oom_kills() > self.oom_kills:
            reason = "killed while the machine was out of memory"
            return Result("infra_error", reason, seconds, peak_memory=self.peak)
        return read_outcome(self.job, end, seconds, self.peak, refused)


@dataclass
class _Running:
    """Started stage, and the service beside it."""

    stage: _Process
    service: _Process | None = None

    @property
    def processes(self) -> list[_Process]:
        """Both process groups, or one."""
        return [self.stage] if self.service is None else [self.stage, self.service]

    @property
    def ended(self) -> bool:
        """Whether no process is left."""
        return all(process.end is not None for process in self.processes)


class LocalExecutor:
    """Forks one worker a stage from a server process that has imported torch and run nothing."""

    name = "local"
    contained = False

    def __init__(self) -> None:
        self._running: dict[str, _Running] = {}
        self._by_path: dict[str, _Process] = {}
        self._server: subprocess.Popen[bytes] | None = None
        self._pending = b""
        self._sockets = Path(tempfile.gettempdir()) / f"gauntlet-{uuid.uuid4().hex[:12]}"

    def start(self, job: StageJob) -> None:
        """Start a stage, and the service beside it."""
        job = on_gpu(job)
        if job.service is not None:
            path = self._sockets / f"{job.key[:24]}.sock"
            path.unlink(missing_ok=True)
            service = replace(job.service, file=job.service.file.with_inputs(socket=str(path)))
            job = replace(job, file=job.file.with_inputs(socket=str(path)), service=service)
        server = self._ensure_server()
        running = _Running(_Process(job), None if job.service is None else _Process(job.service))
        self._running[job.key] = running
        if running.service is not None:  # first, as it needs longer until it is ready
            self._launch(server, running.service, service=True)
        self._launch(server, running.stage, service=False)

    def _launch(self, server: subprocess.Popen[bytes], process: _Process, *, service: bool) -> None:
        if process.end is not None:  # the fork server died meanwhile
            return
        process.job.folder.mkdir(parents=True, exist_ok=True)
        path = process.job.folder / "job.json"
        path.write_text(json.dumps(process.job.file.to_json()), encoding="utf-8")
        self._by_path[str(path)] = process
        if server.stdin is None:  # pragma: no cover - Popen was asked for a pipe
            raise RuntimeError("fork server without standard input")
        message = {"start": str(path), "service": service}
        try:
            server.stdin.write(json.dumps(message).encode() + b"\n")
            server.stdin.flush()
        except BrokenPipeError:
            self._server_died()

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
            self._enforce()
            done = [r for r in self._running.values() if r.ended]
            if done or time.monotonic() >= limit:
                return [(r.stage.job, self._finish(r)) for r in done]

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
        """Note an event of the fork server: a process has started or ended."""
        path = str(event.get("started") or event.get("ended"))
        process = self._by_path.get(path)
        if process is None:
            return
        if "started" in event:  # earlier, the fork server may have been importing
            process.pid, process.begun = event["pid"], time.monotonic()
            if process.stopped is not None:
                kill_group(process.pid)
            return
        del self._by_path[path]
        process.end = ProcessEnd(event["code"], event["signal"], event["outcome"])

    def _server_died(self) -> None:
        for process in self._processes():
            process.stop(Stop("infra_error", "the fork server died"))
            process.end = process.end or NEVER_RAN
        self._by_path.clear()
        if self._server is not None:
            self._server.wait()
            for stream in (self._server.stdin, self._server.stdout):
                with contextlib.suppress(BrokenPipeError):
                    if stream is not None:
                        stream.close()
        self._server, self._pending = None, b""

    def _processes(self) -> list[_Process]:
        return [process for running in self._running.values() for process in running.processes]

    def _enforce(self) -> None:
        """Stop stages that exceed their time or memory, and what is left of a pair."""
        now = time.monotonic()
        for running in self._running.values():
            stage, service = running.stage, running.service
            if stage.pid and stage.end is None and stage.stopped is None:
                limit = stage.job.seconds
                if over := exceeded_memory(stage):
                    stage.stop(over)
                elif now - stage.begun > limit:
                    stage.stop(Stop("timeout", f"stopped at its limit of {limit:g} s"))
            if service is not None:
                self._watch_service(stage, service)

    def _watch_service(self, stage: _Process, service: _Process) -> None:
        """Stop a service that exceeds its memory, and the side that is left of a pair."""
        if service.end is not None:
            if stage.end is None and ended_badly(end_of_service(service)):
                stage.stop(Stop("infra_error", NETWORK_FAILED))
        elif stage.end is not None:
            service.ask()
        elif service.stopped is None and (over := exceeded_memory(service)):
            service.stopped = over
            kill_members(service.pid)  # first, as they use it; the broker reports yet
            service.ask()
        if service.asked and time.monotonic() - service.asked > STOP_SECONDS:
            service.stop(Stop("timeout", NOT_STOPPED))

    def _finish(self, running: _Running) -> Result:
        """Return the result, after every process of the stage and its service is dead."""
        stage, service = running.stage, running.service
        del self._running[stage.job.key]
        result = stage.result
        return result if service is None else combine(stage.job, result, end_of_service(service))

    def leaked_processes(self) -> list[str]:
        """Return processes below the fork server that belong to no running stage."""
        if self._server is None or self._server.poll() is not None:
            return []
        running = [process.pid for process in self._processes() if process.pid]
        known = {self._server.pid, *(one for pid in running for one in group_members(pid))}
        return [str(pid) for pid in group_members(self._server.pid) if pid not in known]

    def close(self) -> None:
        """Stop everything; the fork server kills its children when its input closes."""
        for process in self._processes():
            if process.end is None:
                kill_group(process.pid)
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


def exceeded_memory(process: _Process) -> Stop | None:
    """Note the memory of a process group; return why it must be stopped, or ``None``."""
    limit = process.job.memory_gb
    used = used_memory(process.pid, limit * GIB) if process.pid else 0
    process.peak = max(process.peak, used)
    if used <= limit * GIB:
        return None
    return Stop("out_of_memory", f"host memory: used more than its limit of {limit:g} GiB")


def end_of_service(process: _Process) -> ServiceEnd:
    """Return the end of a service whose processes are dead."""
    outcome = None if process.end is None else process.end.outcome
    return service_end(process.result, outcome, asked=bool(process.asked))


def on_gpu(job: StageJob) -> StageJob:
    """Return a job whose stage and service use the GPU that is reserved for it."""
    if job.gpu is None:
        return job
    service = job.service and on_gpu(job.service)
    return replace(job, file=replace(job.file, device=f"cuda:{job.gpu}"), service=service)
