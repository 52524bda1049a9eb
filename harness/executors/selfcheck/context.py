"""What a check of the self-check works with: an executor, probe stages, and how to say "broken"."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import numpy as np
from safetensors.numpy import save_file

from harness.common.files import save_array
from harness.common.keys import digest
from harness.executors.base import Executor, Result, StageJob
from harness.runtime.worker.job_file import JobFile, ModuleEntry, SpecEntry

T = TypeVar("T")

PROBES = Path(__file__).parent / "probes"
EXAMPLES = 16
SPEC: SpecEntry = {"task": "classification", "outputs": 3, "shape": [1, 2, 2], "classes": []}
SECRET = "GAUNTLET_SELFCHECK_SECRET"  # noqa: S105 - the name of a variable that must not be seen
PATIENCE = 60.0
"""Seconds beyond its limit after which a stage that was not reported counts as lost."""


class Broken(Exception):
    """A promise does not hold; the message is what was seen."""


class Untold(Exception):
    """This machine cannot tell whether a promise holds; the message is why."""


@dataclass(frozen=True)
class Check:
    """One promise of every executor, and how to try it.

    Attributes:
        name: what it is called on the command line. promise: one line, for people.
        run: returns when the promise holds. Raises ``Broken`` or ``Untold``.
    """

    name: str
    promise: str
    run: Callable[[Rig], None]


def check(run: Callable[[Rig], None]) -> Check:
    """Make a function a check: its name is the check's name, its docstring the promise."""
    promise = (run.__doc__ or "").rstrip(".").replace("``", "")
    return Check(run.__name__.strip("_").replace("_", "-"), promise, run)


def expect(held: object, seen: object) -> None:
    """Say what was seen unless something held.

    Raises:
        Broken: it did not.
    """
    if not held:
        raise Broken(str(seen)[:300])


@dataclass(frozen=True)
class Seen:
    """A stage that ended: its job, what the executor said, and what it left."""

    job: StageJob
    result: Result

    @cached_property
    def report(self) -> dict[str, Any]:
        """What the probe returned.

        Raises:
            Broken: the stage did not end well, or left no report.
        """
        self.ended("ok")
        try:
            text = (self.state / "report.json").read_text(encoding="utf-8")
        except OSError as error:
            raise Broken(f"the stage was ok and its report did not arrive: {error}") from error
        report: dict[str, Any] = json.loads(text)
        return report

    def ended(self, status: str, *words: str) -> None:
        """Check the status, and that the reason holds some words.

        Raises:
            Broken: with the status and reason that came.
        """
        result = self.result
        fits = result.status == status and all(word in result.reason for word in words)
        expect(fits, f"{result.status}: {result.reason or 'no reason'}")

    @property
    def out(self) -> Path:
        """The stage's artefacts."""
        return self.job.folder / "out"

    @property
    def state(self) -> Path:
        """Where the probe wrote."""
        return self.out / "state"


class Rig:
    """Runs probes on one executor, in a folder of its own.

    Args:
        make: the executor's constructor; one check needs it in another process.
        root: an empty folder on the file system where runs work.
    """

    def __init__(self, make: Callable[[], Executor], root: Path) -> None:
        self.make, self.root = make, root
        self.executor = make()
        self.secret = os.urandom(8).hex()
        os.environ[SECRET] = self.secret  # before anything is started
        self._count = 0
        self._ended: dict[str, Seen] = {}
        self._memory: dict[str, Any] = {}
        self.data = root / "data"
        save_array(self.data / "x.npy", np.zeros((EXAMPLES, 1, 2, 2), np.uint8))
        save_array(self.data / "y.npy", np.zeros(EXAMPLES, np.int64))
        save_array(self.data / "ids.npy", np.arange(EXAMPLES))
        weights = {"1.weight": np.eye(3, 4, dtype=np.float32), "1.bias": np.zeros(3, np.float32)}
        save_file(weights, self.data / "network.safetensors")
        self.modules = root / "attacks" / "selfcheck"
        shutil.copytree(PROBES, self.modules, ignore=shutil.ignore_patterns("__pycache__"))
        (self.modules / "broken.py").write_text(
            "\nraise ImportError('broken on purpose')\n", "utf-8"
        )

    def close(self) -> None:
        """Stop the executor."""
        self.executor.close()
        os.environ.pop(SECRET, None)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """A value that several checks share, made by the first."""
        if name not in self._memory:
            self._memory[name] = make()
        value: T = self._memory[name]
        return value

    @cached_property
    def deadline(self) -> float:
        """A time limit in which a stage surely begins its hook, and little more."""
        return 1.0 + 2 * self.see("endings.fine").result.seconds

    def job(
        self,
        probe: str,
        *,
        seconds: float = 30.0,
        memory_gb: float = 4.0,
        entry: str = "attack.py:Probe",
        checkpoint: Path | None = None,
        data: Path | None = None,
        **params: object,
    ) -> StageJob:
        """A ``learn`` stage whose hook is a probe, such as ``endings.fine``."""
        self._count += 1
        key = digest([str(self.root), self._count])
        data = data or self.data
        file = JobFile(
            stage="learn",
            spec=SPEC,
            device="cpu",
            seed_root=(0, "learn", "selfcheck"),
            deadline=seconds,
            modules={"attack": self._module(entry, "attack", "learn", {"probe": probe} | params)},
            inputs={"train": str(data), "val": str(data)},
            options={"access": "none", "threads": 1, "budget": {}},
            checkpoint=str(checkpoint or self.root / "checkpoints" / key),
        )
        Path(file.checkpoint).mkdir(parents=True, exist_ok=True)
        return StageJob(key, self.root / "work" / key[:32], file, seconds, memory_gb)

    def copy_of_data(self) -> Path:
        """The data set in a folder that may be spoiled."""
        self._count += 1
        return Path(shutil.copytree(self.data, self.root / f"data-{self._count}"))

    def with_oracle(self, job: StageJob, **params: object) -> StageJob:
        """The same stage with access to an oracle that allows two queries an example."""
        options = {**job.file.options, "access": "oracle", "budget": {"queries": 2}}
        attack = replace(job.file, options=options)
        service = replace(
            attack,
            stage="oracle",
            modules={"victim": self._module("victim.py:Line", "victim", "build", params)},
            inputs={"weights": str(self.data), "slice_x": str(self.data)},
            checkpoint=str(job.folder / "oracle-checkpoint"),
        )
        oracle = StageJob(
            f"{job.key}-oracle", job.folder / "oracle", service, job.seconds, job.memory_gb
        )
        return StageJob(job.key, job.folder, attack, job.seconds, job.memory_gb, oracle)

    def _module(self, entry: str, kind: str, hook: str, params: dict[str, object]) -> ModuleEntry:
        return ModuleEntry(
            name="selfcheck",
            folder=str(self.modules),
            entry=entry,
            kind=kind,
            hooks=(hook,),
            params=params,
            needs=(),
        )

    def checkpoint(self, job: StageJob) -> Path:
        """The folder that outlives a stage."""
        return Path(job.file.checkpoint)

    def see(self, probe: str, **settings: Any) -> Seen:  # noqa: ANN401 - as ``job`` takes them
        """Run one probe to its end."""
        return self.finish(self.job(probe, **settings))[0]

    def report(self, probe: str, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
        """What a probe returned."""
        return self.see(probe, **settings).report

    def facts(self) -> dict[str, Any]:
        """What a stage sees around itself; looked up once."""
        return self.once("facts", lambda: self.report("surroundings.facts"))

    def finish(self, *jobs: StageJob, start: bool = True) -> list[Seen]:
        """Run stages side by side to their ends, in the order given.

        Args:
            jobs: the stages. start: whether they have still to be started.

        Raises:
            Broken: the executor lost one.
        """
        for job in jobs if start else ():
            self.executor.start(job)
        limit = time.monotonic() + max(job.seconds for job in jobs) + PATIENCE
        while missing := [job for job in jobs if job.key not in self._ended]:
            expect(time.monotonic() < limit, f"{len(missing)} stages were never reported as ended")
            self._ended |= {job.key: Seen(job, result) for job, result in self.executor.wait(0.5)}
        return [self._ended[job.key] for job in jobs]

    def abandon(self, job: StageJob) -> None:
        """Run a stage from a harness that is killed as soon as the stage's hearts beat."""
        harness = multiprocessing.get_context("spawn").Process(target=hold, args=(self.make, job))
        harness.start()
        try:
            wait_for_beats(self.checkpoint(job))
        finally:
            harness.kill()
            harness.join()


def hold(make: Callable[[], Executor], job: StageJob) -> None:
    """Be a harness that runs a stage until it is killed."""
    executor = make()
    executor.start(job)
    while True:
        executor.wait(1.0)


def wait_for_beats(folder: Path, seconds: float | None = None) -> None:
    """Wait until the child and the daemon of ``limits.leaves`` live, ``PATIENCE`` at most.

    Raises:
        Broken: they do not come to life.
    """
    limit = time.monotonic() + (PATIENCE if seconds is None else seconds)
    while len(list(folder.glob("*.beat"))) < 2:
        expect(time.monotonic() < limit, "the stage started no processes")
        time.sleep(0.02)


def expect_silence(executor: Executor, folder: Path, seconds: float = 0.0) -> None:
    """Check that the processes of ``limits.leaves`` lived, and are dead within some seconds.

    Their beats tell where the checkpoint is a folder of the host; elsewhere the executor asks
    whoever runs its stages what still runs.

    Raises:
        Broken: one of them beats on.
    """
    limit = time.monotonic() + seconds
    wait_for_beats(folder, 0)
    while True:
        before = {p.name: p.stat().st_size for p in folder.glob("*.beat")}
        time.sleep(0.25)
        alive = [p.name for p in folder.glob("*.beat") if p.stat().st_size > before[p.name]]
        alive += executor.leaked_processes()
        if not alive:
            return
        expect(time.monotonic() < limit, f"still running: {', '.join(sorted(alive))}")


@contextmanager
def listening(greeting: str) -> Iterator[int]:
    """A port of this machine that answers with a greeting, however often it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    link, _ = server.accept()
                except OSError:
                    return
                with link:
                    link.sendall(greeting.encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(1)


@contextmanager
def watched(seconds: float) -> Iterator[None]:
    """Interrupt a block that hangs: an executor that waits for ever is broken too.

    Works in the main thread only, where signals arrive; elsewhere it does nothing.

    Raises:
        Broken: the time was over.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Broken(f"the harness itself hung for {seconds:g} s")

    earlier = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
