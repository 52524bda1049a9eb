"""Executor that runs stages in locked-down containers; docker/README.md explains each lock.

A container serves stages of one *specification* only (same image, kind of stage, modules, mounts,
limits), one after the other, each in a fresh process; see ``container`` and ``container_init``.
"""

from __future__ import annotations

import contextlib
import queue
import shutil
import socket
import threading
import time
import uuid
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
from harness.common.errors import UserError
from harness.common.files import remove_tree
from harness.common.keys import ROOT, digest
from harness.common.status import Status
from harness.common.text import one_line
from harness.executors.base import Result, StageJob
from harness.executors.container import GRACE_SECONDS, Container, Ended
from harness.executors.container_options import ContainerSpec
from harness.executors.images import Images
from harness.executors.oom_kills import count_oom_kills
from harness.executors.outcome import read_outcome, sanitize
from harness.executors.owners import is_dead, owner
from harness.executors.postmortem import examine, verdict, was_paused
from harness.executors.receive import ChannelBroken
from harness.executors.service import (
    NETWORK_FAILED,
    NOT_STOPPED,
    STOP_SECONDS,
    ServiceEnd,
    combine,
    ended_badly,
    service_end,
)

IDLE = 16
"""Number of containers kept for another stage of their kind; each holds about 0.3 GiB."""
SERVICE_SOCKET = "service"
LABEL = "gauntlet.run"
OWNER = "gauntlet.harness"
LIMITS_INSIDE: dict[str, Status] = {
    "timeout": "timeout",
    "out_of_memory": "out_of_memory",
    "infra_error": "infra_error",  # the machine's own memory ran out
}
"""Statuses that a supervisor may give for a stage that it stopped."""

EngineError = (docker.errors.DockerException, OSError, ChannelBroken)


class DockerExecutor:
    """Starts containers, keeps idle ones for the next stage of their kind, removes orphans.

    Args:
        images: images of the engine; those of every stage must have been built.
        reuse: false for a new container for every stage.
    """

    name = "docker"
    contained = True

    def __init__(self, images: Images, *, reuse: bool = True) -> None:
        self._images, self._engine, self._reuse = images, images.client, reuse
        self._lock = threading.Lock()
        self._idle: OrderedDict[ContainerSpec, list[Container]] = OrderedDict()
        self._busy: set[Container] = set()
        self._running: dict[str, threading.Thread] = {}
        self._done: queue.SimpleQueue[tuple[StageJob, Result | BaseException]] = queue.SimpleQueue()
        self._mounts: Path | None = None
        self._closing = False
        self.clean_up()

    def start(self, job: StageJob) -> None:
        """Start a stage, in a thread of its own."""
        self._closing = False
        if self._mounts is None or not self._mounts.is_dir():
            self._drop_idle()
            self._mounts = job.folder.parent / f"mounts-{uuid.uuid4().hex[:8]}"
            runtime = self._mounts / "harness"
            shutil.copytree(
                ROOT / "harness" / "runtime",
                runtime / "runtime",
                ignore=shutil.ignore_patterns("__pycache__"),
            )
            shutil.copy(ROOT / "harness" / "__init__.py", runtime)
            for path in (runtime, *runtime.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
        thread = threading.Thread(target=self._work, args=(job,), daemon=True)
        self._running[job.key] = thread
        thread.start()

    def wait(self, timeout: float) -> list[tuple[StageJob, Result]]:
        """Return the stages that ended.

        Raises:
            Exception: a bug of the harness in a stage's thread.
        """
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._done.get(timeout=timeout))
            while True:
                found.append(self._done.get_nowait())
        ended = []
        for job, result in found:
            self._running.pop(job.key).join()
            if isinstance(result, BaseException):
                raise result
            ended.append((job, result))
        return ended

    def close(self) -> None:
        """Remove every container of this executor."""
        self._closing = True
        with self._lock:
            busy = list(self._busy)
        for container in busy:
            container.close()
        for thread in self._running.values():
            thread.join()
        self._running.clear()
        self._drop_idle()
        if self._mounts is not None:
            remove_tree(self._mounts)
        self._mounts = None
        self._images.close()

    # -- one stage ----------------------------------------------------------------------------

    def _work(self, job: StageJob) -> None:
        begun = time.monotonic()
        try:
            try:
                result = self._stage(job)
            except EngineError as error:
                result = Result("infra_error", one_line(f"docker: {error}"), 0.0)
            except UserError as error:  # a link appeared in a module's folder
                result = Result("infra_error", one_line(str(error)), 0.0)
            seconds = time.monotonic() - begun
            hook = min(result.hook_seconds, seconds)
            self._done.put((job, replace(result, seconds=seconds, hook_seconds=hook)))
        except BaseException as error:  # noqa: BLE001 - raised again by wait()
            self._done.put((job, error))

    def _stage(self, job: StageJob) -> Result:
        if job.service is not None:
            return self._stage_with_service(job, job.service)
        container = self._acquire(job)
        try:
            result = self._read_end(job, container, self._run(job, container))
            return self._excuse_pause(result, container)
        finally:
            self._release(container)

    def _run(
        self, job: StageJob, container: Container, listener: socket.socket | None = None
    ) -> Ended | Result:
        """Run a stage; a container that ends meanwhile is the stage's own end."""
        try:
            return container.run(job, listener)
        except ChannelBroken as error:
            return self._explain_break(job, container, error)

    def _stage_with_service(self, job: StageJob, service: StageJob) -> Result:
        """Run an attack beside its service, each in a container of its own."""
        with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as opened:
            making = pool.submit(self._acquire, service)  # side by side: each may take seconds
            opened.callback(self._release_made, making)
            container = self._acquire(job)
            opened.callback(self._release, container)
            network = making.result()
            listener = opened.enter_context(container.listen(SERVICE_SOCKET))
            job, service = (
                replace(part, file=part.file.with_inputs(socket=SERVICE_SOCKET))
                for part in (job, service)
            )
            # the service must outlive the attack: its own limit ends later
            longer = service.seconds + GRACE_SECONDS + STOP_SECONDS
            serving = replace(service, seconds=longer)
            asked = threading.Event()

            def serve() -> ServiceEnd:
                with contextlib.ExitStack() as failed:
                    failed.callback(container.close)  # nobody would ever answer the attack
                    end = self._run(serving, network, listener)
                    failed.pop_all()
                outcome = end.process.outcome if isinstance(end, Ended) else None
                told, result = asked.is_set(), self._read_end(serving, network, end)
                served = service_end(result, outcome, asked=told)
                if not told and ended_badly(served):
                    container.close()  # the attack cannot go on
                return served

            answering = pool.submit(serve)
            result = self._read_end(job, container, self._run(job, container))
            if not container.fit:
                container.close()  # what is left of the attack must not hold its connection
            asked.set()
            if not answering.done():
                network.stop()
            if wait([answering], STOP_SECONDS).done:
                result = combine(job, result, answering.result())
            else:
                network.close()
                stuck = replace(answering.result().result, status="timeout", reason=NOT_STOPPED)
                result = combine(job, result, ServiceEnd(stuck))
            return self._excuse_pause(result, container, network)

    def _release_made(self, making: Future[Container]) -> None:
        """Release a container that another thread has made, unless it failed."""
        if making.exception() is None:
            self._release(making.result())

    def _read_end(self, job: StageJob, container: Container, ended: Ended | Result) -> Result:
        """Return the result of a stage, as far as its files confirm the reported end."""
        refused = sanitize(job.folder)
        if isinstance(ended, Result):
            return ended
        bad = ended.stopped or ended.process.number or ended.refused
        container.fit = ended.clean and not bad
        if ended.stopped and (limit := LIMITS_INSIDE.get(ended.stopped[0])):
            if limit == "infra_error" and count_oom_kills() == container.oom_kills:
                limit = "module_error"  # the kernel would have counted it
            result = Result(limit, one_line(ended.stopped[1]), 0.0, peak_memory=ended.peak)
        else:
            result = read_outcome(
                job, ended.process, float("inf"), ended.peak, refused or ended.refused
            )
            if result.status == "infra_error":
                # the disk that is full, or may not be written to, is the stage's own
                result = replace(result, status="module_error", reason=f"disk: {result.reason}")
        return replace(result, image=container.spec.image)

    def _explain_break(self, job: StageJob, container: Container, error: ChannelBroken) -> Result:
        """Return the result of a stage whose container ended before the stage did."""
        container.fit = False

        def ended(status: Status, reason: str) -> Result:
            return Result(status, reason, 0.0, image=container.spec.image)

        if container.overdue and container.started:
            reason = f"stopped from outside, as its limit of {job.seconds:g} s did not end it"
            return ended("timeout", reason)
        if self._closing:
            return ended("infra_error", "stopped with the harness")
        if container.closed:  # by us; an end of the network's goes first (``combine``)
            return ended("infra_error", NETWORK_FAILED if container.started else f"docker: {error}")
        machine_oom = count_oom_kills() > container.oom_kills
        death = examine(self._engine, container.id, container.begun, machine_oom=machine_oom)
        if found := verdict(death, job.memory_gb):
            return ended(*found)
        if not container.started:
            return ended("infra_error", f"docker: {error}")
        return ended("module_error", f"the stage killed its supervisor process ({error})")

    def _excuse_pause(self, result: Result, *containers: Container) -> Result:
        """Return the result of a stage; a timeout while one of its containers was paused is ours.

        No stage can pause a container, its own included.
        """
        paused = result.status == "timeout" and any(
            was_paused(self._engine, one.id, one.begun) for one in containers
        )
        if not paused:
            return result
        reason = f"paused from outside: {result.reason}"
        return replace(result, status="infra_error", reason=reason, by=None)

    # -- containers ---------------------------------------------------------------------------

    def _acquire(self, job: StageJob) -> Container:
        """Return an idle container that fits a stage, or a new one."""
        spec = self._spec(job)
        while (container := self._take_idle(spec)) is not None:
            if container.alive:
                return container
            self._release(container)
        self._evict(IDLE - 1)
        assert self._mounts is not None
        mount_root = self._mounts / uuid.uuid4().hex[:12]
        labels = {LABEL: job.run, OWNER: owner()}
        container = Container(self._engine, spec, mount_root, self._mounts / "harness", labels)
        with self._lock:
            self._busy.add(container)
        if self._closing:  # ``close`` did not know of it yet
            self._release(container)
            raise ChannelBroken("stopped with the harness")
        return container

    def _take_idle(self, spec: ContainerSpec) -> Container | None:
        """Return an idle container, which is busy from then on, or ``None``."""
        with self._lock:
            if not (waiting := self._idle.get(spec)):
                return None
            container = waiting.pop()
            if not waiting:
                del self._idle[spec]
            self._busy.add(container)
        container.fit = container.started = False
        return container

    def _release(self, container: Container) -> None:
        """Keep a clean container, remove any other."""
        with self._lock:
            self._busy.discard(container)
            if container.fit and not container.closed and self._reuse and not self._closing:
                self._idle.setdefault(container.spec, []).append(container)
                self._idle.move_to_end(container.spec)
                return
        container.close()

    def _evict(self, room: int) -> None:
        """Remove the containers that have been idle longest, until ``room`` are left."""
        while True:
            with self._lock:
                if sum(map(len, self._idle.values())) <= room:
                    return
                spec, waiting = next(iter(self._idle.items()))
                container = waiting.pop(0)
                if not waiting:
                    del self._idle[spec]
            container.close()

    def _drop_idle(self) -> None:
        self._evict(0)

    def _spec(self, job: StageJob) -> ContainerSpec:
        file = job.file
        modules = sorted((role, module.folder) for role, module in file.modules.items())
        return ContainerSpec(
            image=self._images.id_of(job.environment),
            stage=file.stage,
            memory_gb=job.memory_gb,
            cpus=file.threads,
            gpu=job.gpu,
            modules=digest([modules, file.spec, file.options.get("access")]),
            granted=tuple(sorted(file.inputs)),
        )

    def clean_up(self) -> None:
        """Remove containers of harnesses that have ended, and what their image builds left."""
        for one in self._list():
            if is_dead(one.labels.get(OWNER, "")):
                with contextlib.suppress(docker.errors.APIError):
                    one.remove(force=True, v=True)
        self._images.sweep()

    def leaked_processes(self) -> list[str]:
        """Return processes of idle containers but the first, and all of dead harnesses' ones."""
        with self._lock:
            idle = {container.id for waiting in self._idle.values() for container in waiting}
        found = []
        for one in self._list():
            spared = 1 if one.id in idle else 0
            if one.id in idle or is_dead(one.labels.get(OWNER, "")):
                with contextlib.suppress(docker.errors.APIError):  # it has ended meanwhile
                    found += [" ".join(row) for row in one.top()["Processes"][spared:]]
        return found

    def _list(self) -> list[Any]:
        # a container that vanishes during the listing is left out
        found: list[Any] = self._engine.containers.list(
            all=True, filters={"label": OWNER}, ignore_removed=True
        )
        return found
