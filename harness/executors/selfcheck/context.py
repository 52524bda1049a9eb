"""Context of the self-check: it runs probes on one executor and waits for their ends."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from safetensors.numpy import save_file

from harness.common.files import save_array
from harness.executors.base import Executor, Result, StageJob
from harness.executors.selfcheck.errors import PromiseBroken, expect
from harness.executors.selfcheck.probe_jobs import ProbeJobs, checkpoint_of

T = TypeVar("T")

Report = dict[str, Any]
"""JSON object that a probe returned."""
EXAMPLES = 16
SECRET = "GAUNTLET_SELFCHECK_SECRET"  # noqa: S105 - the name of a variable that must not be seen
PATIENCE = 60.0
"""Seconds beyond its limit after which a stage that was not reported counts as lost."""


@dataclass(frozen=True)
class EndedStage:
    """Stage that has ended.

    Attributes:
        job: its job.
        result: result that the executor reported.
    """

    job: StageJob
    result: Result

    @cached_property
    def report(self) -> Report:
        """Report that the probe returned.

        Raises:
            PromiseBroken: the stage did not end well, or left no report.
        """
        self.expect("ok")
        try:
            text = (self.state / "report.json").read_text(encoding="utf-8")
        except OSError as error:
            raise PromiseBroken(
                f"the stage was ok and its report did not arrive: {error}"
            ) from error
        report: Report = json.loads(text)
        return report

    def expect(self, status: str, *words: str) -> None:
        """Check the status and the reason.

        Args:
            status: expected status.
            words: texts that the reason must contain.

        Raises:
            PromiseBroken: status or reason differ.
        """
        result = self.result
        fits = result.status == status and all(word in result.reason for word in words)
        expect(fits, f"{result.status}: {result.reason or 'no reason'}")

    @property
    def out(self) -> Path:
        """Folder of the stage's artefacts."""
        return self.job.folder / "out"

    @property
    def state(self) -> Path:
        """Folder in which the probe wrote."""
        return self.out / "state"


class SelfCheckContext:
    """Runner of probes on one executor, in a folder of its own.

    Args:
        make: constructor of the executor; one check needs it in another process.
        root: empty folder on the file system where runs work.

    Attributes:
        executor: executor under test.
        jobs: maker of jobs.
        data: data set that every probe is granted.
        weights: those of the network that answers an attack.
        secret: value of an environment variable that no stage may see.
    """

    def __init__(self, make: Callable[[], Executor], root: Path) -> None:
        self.make, self.root = make, root
        self.executor = make()
        self.secret = os.urandom(8).hex()
        os.environ[SECRET] = self.secret  # before any process is started
        self._ended: dict[str, EndedStage] = {}
        self._shared: dict[str, object] = {}
        self.data = root / "data"
        save_array(self.data / "x.npy", np.zeros((EXAMPLES, 1, 2, 2), np.uint8))
        save_array(self.data / "y.npy", np.zeros(EXAMPLES, np.int64))
        save_array(self.data / "ids.npy", np.arange(EXAMPLES))
        weights = {"1.weight": np.eye(3, 4, dtype=np.float32), "1.bias": np.zeros(3, np.float32)}
        self.weights = root / "weights"
        self.weights.mkdir()
        save_file(weights, self.weights / "network.safetensors")
        self.jobs = ProbeJobs(root, self.data, self.weights)

    def close(self) -> None:
        """Stop the executor."""
        self.executor.close()
        os.environ.pop(SECRET, None)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return a value that several checks share; the first one makes it.

        Args:
            name: name of the value.
            make: function that makes it.
        """
        if name not in self._shared:
            self._shared[name] = make()
        return cast(T, self._shared[name])

    @cached_property
    def deadline(self) -> float:
        """Time limit that suffices for a stage to begin its hook, and little more."""
        return 1.0 + 2 * self.run("endings.fine").result.seconds

    def run(self, probe: str, **settings: Any) -> EndedStage:  # noqa: ANN401
        """Run one probe to its end; arguments as ``ProbeJobs.make``."""
        return self.finish(self.jobs.make(probe, **settings))[0]

    def report(self, probe: str, **settings: Any) -> Report:  # noqa: ANN401
        """Run one probe and return its report; arguments as ``ProbeJobs.make``."""
        return self.run(probe, **settings).report

    def facts(self) -> Report:
        """Return what a stage sees of its surroundings; looked up once."""
        return self.once("facts", lambda: self.report("surroundings.facts"))

    def finish(self, *jobs: StageJob, start: bool = True) -> list[EndedStage]:
        """Run stages side by side; return them in the order given when all have ended.

        Args:
            jobs: jobs of the stages.
            start: whether the stages must be started first.

        Raises:
            PromiseBroken: the executor lost a stage.
        """
        for job in jobs if start else ():
            self.executor.start(job)
        limit = time.monotonic() + max(job.seconds for job in jobs) + PATIENCE
        while missing := [job for job in jobs if job.key not in self._ended]:
            expect(time.monotonic() < limit, f"{len(missing)} stages were never reported as ended")
            ended = self.executor.wait(0.5)
            self._ended |= {job.key: EndedStage(job, result) for job, result in ended}
        return [self._ended[job.key] for job in jobs]

    def abandon(self, job: StageJob) -> None:
        """Run a stage from another harness, which is killed when the stage's processes live."""
        spawn = multiprocessing.get_context("spawn")
        harness = spawn.Process(target=run_until_killed, args=(self.make, job))
        harness.start()
        try:
            wait_for_beats(checkpoint_of(job))
        finally:
            harness.kill()
            harness.join()


def run_until_killed(make: Callable[[], Executor], job: StageJob) -> None:
    """Run a stage as a harness does, until this process is killed."""
    executor = make()
    executor.start(job)
    while True:
        executor.wait(1.0)


def wait_for_beats(folder: Path, seconds: float | None = None) -> None:
    """Wait until the child and the daemon of the probe ``limits.leaves`` live.

    Args:
        folder: checkpoint in which they write their beats.
        seconds: longest time to wait, ``PATIENCE`` by default.

    Raises:
        PromiseBroken: they do not start.
    """
    limit = time.monotonic() + (PATIENCE if seconds is None else seconds)
    while len(list(folder.glob("*.beat"))) < 2:
        expect(time.monotonic() < limit, "the stage started no processes")
        time.sleep(0.02)


def expect_no_processes(executor: Executor, folder: Path, seconds: float = 0.0) -> None:
    """Check that the processes of the probe ``limits.leaves`` have lived, and are dead.

    If the checkpoint is a folder of the host, their beats show whether they live. Otherwise the
    executor lists the processes.

    Args:
        executor: executor under test.
        folder: checkpoint in which they write their beats.
        seconds: time in which they must be dead.

    Raises:
        PromiseBroken: one of them lives.
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
