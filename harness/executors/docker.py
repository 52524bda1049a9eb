"""Runs stages in locked-down containers; see docker/README.md for what each lock is for.

A container serves stages of one *shape* only (same image, kind of stage, modules, mounts, limits),
one after the other, each in a fresh process; see ``container`` and ``container_init``.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
import time
import uuid
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
from harness.common.files import remove_tree
from harness.common.keys import ROOT, digest
from harness.common.text import one_line
from harness.executors.base import Result, StageJob
from harness.executors.container import Container, Ended
from harness.executors.container_options import Shape
from harness.executors.images import Images
from harness.executors.outcome import DISK_FULL, oracle_failure, read_outcome, tame
from harness.executors.receive import LineBroken

IDLE = 16
"""Containers kept for another stage of their shape; each holds about 0.3 GiB."""
ORACLE_DOOR = "oracle"
STOP_SECONDS = 20.0
"""How long an oracle may take to write its counts once it is told to stop."""
LABEL = "gauntlet.run"
OWNER = "gauntlet.harness"
LIMITS_INSIDE = ("timeout", "out_of_memory")
"""What a keeper may say that a stage was stopped for."""

EngineError = (docker.errors.DockerException, OSError, LineBroken)


class DockerExecutor:
    """Starts containers, keeps idle ones for the next stage of their shape, sweeps orphans.

    Args:
        images: where the images are; those of every stage must have been built.
        reuse: false for a new container for every stage.
    """

    name = "docker"
    contained = True

    def __init__(self, images: Images, *, reuse: bool = True) -> None:
        self._images, self._engine, self._reuse = images, images.client, reuse
        self._lock = threading.Lock()
        self._idle: OrderedDict[Shape, list[Container]] = OrderedDict()
        self._busy: set[Container] = set()
        self._running: dict[str, threading.Thread] = {}
        self._done: queue.SimpleQueue[tuple[StageJob, Result | BaseException]] = queue.SimpleQueue()
        self._boxes: Path | None = None
        self._closing = False
        self.sweep()

    def start(self, job: StageJob) -> None:
        """Begin a stage, in a thread of its own."""
        self._closing = False
        if self._boxes is None or not self._boxes.is_dir():
            self._drop_idle()
            self._boxes = job.folder.parent / f"boxes-{uuid.uuid4().hex[:8]}"
            runtime = self._boxes / "harness"
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
        """Stages that ended.

        Raises:
            Exception: a bug of ours in a stage's thread.
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
        if self._boxes is not None:
            remove_tree(self._boxes)
        self._boxes = None
        self._images.close()

    # -- one stage ----------------------------------------------------------------------------

    def _work(self, job: StageJob) -> None:
        begun = time.monotonic()
        try:
            try:
                result = self._stage(job)
            except EngineError as error:
                result = Result("infra_error", one_line(f"docker: {error}"), 0.0)
            seconds = time.monotonic() - begun
            hook = min(result.hook_seconds, seconds)
            self._done.put((job, replace(result, seconds=seconds, hook_seconds=hook)))
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            self._done.put((job, error))

    def _stage(self, job: StageJob) -> Result:
        container = self._take(job)
        try:
            if job.service is None:
                return self._ended(job, container, self._run(job, container))
            return self._with_oracle(job, job.service, container)
        finally:
            self._give(container)

    def _run(self, job: StageJob, container: Container, door: Any = None) -> Ended | Result:  # noqa: ANN401
        """Run a stage; a container that ends with it is the stage's own end."""
        try:
            return container.run(job, door)
        except LineBroken as error:
            return self._broken(job, container, error)

    def _with_oracle(self, job: StageJob, service: StageJob, container: Container) -> Result:
        """Run an attack beside its oracle; whatever ends the oracle early ends the attack."""
        oracle = self._take(service)
        opened = contextlib.ExitStack()
        try:
            door = opened.enter_context(container.listen(ORACLE_DOOR))
            for part in (job, service):
                part.job["inputs"]["socket"] = ORACLE_DOOR
            patient = replace(service, seconds=service.seconds + STOP_SECONDS)
            stopping = threading.Event()
            with ThreadPoolExecutor(1) as pool:
                answering = pool.submit(self._run, patient, oracle, door)
                answering.add_done_callback(
                    lambda _: None if stopping.is_set() else container.close()
                )
                ended = self._run(job, container)
                stopping.set()
                oracle.stop()
                if not wait([answering], STOP_SECONDS).done:
                    oracle.close()
            result = self._ended(job, container, ended)
            served = self._ended(service, oracle, answering.result())
            if served.status != "ok" and result.status != "timeout":
                status, reason, by = oracle_failure(service, served)
                return replace(result, status=status, reason=reason, by=by)
            return result
        finally:
            opened.close()
            self._give(oracle)

    def _ended(self, job: StageJob, container: Container, ended: Ended | Result) -> Result:
        """What the stage ended in, as far as its files bear it out."""
        refused = tame(job.folder)
        if isinstance(ended, Result):
            return ended
        container.fit = ended.clean and not (ended.stopped or ended.number or ended.refused)
        if ended.stopped and ended.stopped[0] in LIMITS_INSIDE:
            status, reason = ended.stopped
            result = Result(status, one_line(reason), 0.0, peak_memory=ended.peak)
        else:
            result = read_outcome(
                job, ended.code, ended.number, float("inf"), ended.peak, refused or ended.refused
            )
        if result.status == "infra_error" and result.exit_code == DISK_FULL:
            # the disk that is full, or may not be written to, is the stage's own
            result = replace(result, status="module_error", reason=f"disk: {result.reason}")
        return replace(result, image=container.shape.image)

    def _broken(self, job: StageJob, container: Container, error: LineBroken) -> Result:
        """Why a container ended in mid-stage."""
        container.fit = False
        image = container.shape.image
        if container.overdue:
            reason = f"stopped from outside, as its limit of {job.seconds:g} s did not end it"
            return Result("timeout", reason, 0.0, image=image)
        if self._closing:
            return Result("infra_error", "stopped with the harness", 0.0, image=image)
        if self._out_of_memory(container):
            reason = f"host memory: the container ended at its limit of {job.memory_gb:g} GiB"
            return Result("out_of_memory", reason, 0.0, image=image)
        if not container.started:
            return Result("infra_error", f"docker: {error}", 0.0, image=image)
        reason = f"the stage killed its supervisor process ({error})"
        return Result("module_error", reason, 0.0, image=image)

    def _out_of_memory(self, container: Container) -> bool:
        """Whether the engine saw the kernel kill for memory in a container, which may be gone."""
        now = int(time.time()) + 1
        filters = {"container": container.id, "event": "oom"}
        events = self._engine.events(since=container.born, until=now, filters=filters)
        return any(True for _ in events)

    # -- containers ---------------------------------------------------------------------------

    def _take(self, job: StageJob) -> Container:
        shape = self._shape(job)
        with self._lock:
            if waiting := self._idle.get(shape):
                container = waiting.pop()
                if not waiting:
                    del self._idle[shape]
                self._busy.add(container)
                container.fit = container.started = False
                return container
        self._evict(IDLE - 1)
        assert self._boxes is not None
        box = self._boxes / uuid.uuid4().hex[:12]
        labels = {LABEL: job.run, OWNER: owner()}
        container = Container(self._engine, shape, box, self._boxes / "harness", labels)
        with self._lock:
            self._busy.add(container)
        if self._closing:  # ``close`` did not know of it yet
            self._give(container)
            raise LineBroken("stopped with the harness")
        return container

    def _give(self, container: Container) -> None:
        """Keep a clean container, remove any other."""
        with self._lock:
            self._busy.discard(container)
            if container.fit and self._reuse and not self._closing:
                self._idle.setdefault(container.shape, []).append(container)
                self._idle.move_to_end(container.shape)
                return
        container.close()

    def _evict(self, room: int) -> None:
        """Remove those that have waited longest."""
        while True:
            with self._lock:
                if sum(map(len, self._idle.values())) <= room:
                    return
                shape, waiting = next(iter(self._idle.items()))
                container = waiting.pop(0)
                if not waiting:
                    del self._idle[shape]
            container.close()

    def _drop_idle(self) -> None:
        self._evict(0)

    def _shape(self, job: StageJob) -> Shape:
        modules = sorted((role, m["folder"]) for role, m in job.job["modules"].items())
        return Shape(
            image=self._images.id_of(job.environment),
            stage=job.job["stage"],
            memory_gb=job.memory_gb,
            cpus=int(job.job["options"]["threads"]),
            gpu=job.gpu,
            modules=digest([modules, job.job["spec"], job.job["options"].get("access")]),
            granted=tuple(sorted(job.job["inputs"])),
        )

    def sweep(self) -> None:
        """Remove containers of harnesses that are no more."""
        for one in self._labelled():
            if dead(one.labels.get(OWNER, "")):
                with contextlib.suppress(docker.errors.APIError):
                    one.remove(force=True)

    def lingering(self) -> list[str]:
        """Processes in idle containers beyond the first, and all of dead harnesses' containers."""
        with self._lock:
            idle = {container.id for waiting in self._idle.values() for container in waiting}
        found = []
        for one in self._labelled():
            spared = 1 if one.id in idle else 0
            if one.id in idle or dead(one.labels.get(OWNER, "")):
                with contextlib.suppress(docker.errors.APIError):  # it has ended meanwhile
                    found += [" ".join(row) for row in one.top()["Processes"][spared:]]
        return found

    def _labelled(self) -> list[Any]:
        # one that vanishes while they are listed is none of them
        found: list[Any] = self._engine.containers.list(
            all=True, filters={"label": OWNER}, ignore_removed=True
        )
        return found


def owner() -> str:
    """This harness: its name space of processes, its number there, and when it was born."""
    return f"{os.readlink('/proc/self/ns/pid')} {os.getpid()} {born(os.getpid())}"


def dead(name: str) -> bool:
    """Whether the harness of that name has ended; one that cannot be seen from here counts not."""
    space, _, rest = name.partition(" ")
    pid, _, when = rest.partition(" ")
    return space == os.readlink("/proc/self/ns/pid") and when != born(int(pid))


def born(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty when it is not there."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *fields = text.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]
