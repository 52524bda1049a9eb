"""Runs what is missing, backwards from missing records: ready set, retries, passing artefacts."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from harness.catalog import Catalog
from harness.errors import UserError
from harness.executors.base import Executor, Result, StageJob
from harness.graph import HOST, Stage
from harness.hoststages import HOST_STAGES, StageFailure
from harness.jobs import make_job
from harness.plan import Cell, Plan
from harness.recorder import Recorder
from harness.store import Store

INFRA_RETRIES = 2

ORDER = {"measure": 0, "predict": 0, "public": 1, "train": 1, "deliver": 1, "poison": 1}
"""Which of several ready stages goes first: what frees disk, then what unlocks most."""

PROVENANCE_ONLY = ("network", "apply")
"""Roles of a cell that say where it came from; its score does not read them."""


@dataclass
class Tally:
    """What a run did."""

    stages: int = 0
    failed: int = 0
    records: int = 0
    seconds: float = 0.0
    overheads: list[float] = field(default_factory=list)


@dataclass
class _State:
    """The ready set and its bookkeeping."""

    waiting: dict[str, set[str]] = field(default_factory=dict)
    ready: list[str] = field(default_factory=list)
    readers: Counter[str] = field(default_factory=Counter)
    tries: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)  # key → key of the stage that failed
    open_cells: dict[str, set[str]] = field(default_factory=dict)  # cell id → stages still to come


class Scheduler:
    """Runs a plan's missing cells.

    Args:
        plan: what could run. catalog: modules. store: artefacts. executor: where stages run.
        recorder: turns finished cells into records. data_root: fetched data.
        jobs: stages at once. device: ``cpu`` or ``cuda``.
        keep_all: leave passing artefacts. tell: called after each event, for progress.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        catalog: Catalog,
        store: Store,
        executor: Executor,
        recorder: Recorder,
        data_root: Path,
        jobs: int,
        device: str = "cpu",
        keep_all: bool = False,
        tell: Callable[[int, int, str], None] | None = None,
    ) -> None:
        self.plan, self.catalog, self.store, self.executor = plan, catalog, store, executor
        self.recorder, self.data_root, self.jobs, self.device = recorder, data_root, jobs, device
        self.keep_all, self.tell = keep_all, tell or (lambda done, total, what: None)
        self.tally = Tally()
        self.done: list[str] = []
        self._state = _State()
        self._running: dict[str, Stage] = {}
        self._total = 0

    # -- what is missing ----------------------------------------------------------------------

    def missing(self, cells: list[Cell]) -> dict[str, Stage]:
        """Stages to run for these cells; what lies verified in the store is not among them.

        A failure under a stage's key counts as done: it is shown, not repeated.
        """
        return self.missing_behind(
            [k for cell in cells for role, k in cell.stages.items() if role not in PROVENANCE_ONLY]
        )

    def missing_behind(self, keys: list[str]) -> dict[str, Stage]:
        """The same for stages: works backwards from what is wanted to what is there."""
        wanted: dict[str, Stage] = {}
        stack = [(key, "") for key in keys]
        seen: set[tuple[str, str]] = set()
        while stack:
            key, part = stack.pop()
            if (key, part) in seen:
                continue
            seen.add((key, part))
            if key in wanted or self._present(key, part):
                continue
            stage = self.plan.graph.stages[key]
            wanted[key] = stage
            stack += [(one.key, one.part) for one in stage.inputs.values()]
        return wanted

    def _present(self, key: str, part: str) -> bool:
        receipt = self.store.receipt(key)
        if receipt is not None and receipt["status"] != "ok":
            return True
        return self.store.has(key, part) and self.store.verify(key)

    def forget_failures(self, cells: list[Cell]) -> None:
        """Drop failed entries behind these cells, for ``--retry-failed``."""
        keys = [k for cell in cells for k in cell.stages.values()]
        for key in self.plan.graph.ancestors(keys):
            receipt = self.store.receipt(key)
            if receipt is not None and receipt["status"] != "ok":
                self.store.drop(key)

    # -- running ------------------------------------------------------------------------------

    def run(self, cells: list[Cell]) -> Tally:
        """Run until every given cell has its record.

        Raises:
            UserError: the store is full or read-only; what was computed is kept.
        """
        return self._run(cells, self.missing(cells))

    def run_stages(self, keys: list[str]) -> Tally:
        """Run single stages and what they read, without any cell."""
        return self._run([], self.missing_behind(keys))

    def _run(self, cells: list[Cell], wanted: dict[str, Stage]) -> Tally:
        begun = time.monotonic()
        self._total = len(wanted)
        state = self._state
        for key, stage in wanted.items():
            state.waiting[key] = {read for read in stage.reads() if read in wanted}
            state.readers.update(read for read in stage.reads())
        for key, stage in wanted.items():
            for read in stage.reads():
                receipt = self.store.receipt(read) if read not in wanted else None
                if receipt is not None and receipt["status"] != "ok":
                    self._fail_downstream(key, read)
        for cell in cells:
            state.open_cells[cell.id] = set(cell.stages.values()) & wanted.keys()
        self._make_ready()
        with work_folder(self.store.root.parent / "work") as work:
            try:
                self._close_cells()
                while state.ready or self._running:
                    self._start_ready(work)
                    for job, result in self.executor.wait(1.0) if self._running else []:
                        self._ended(job, result)
                    self._close_cells()
            finally:
                self.executor.close()
        self.tally.seconds = time.monotonic() - begun
        return self.tally

    def _make_ready(self) -> None:
        state = self._state
        now = [key for key, unmet in state.waiting.items() if not unmet]
        for key in now:
            del state.waiting[key]
        state.ready += now
        state.ready.sort(key=lambda key: ORDER.get(self.plan.graph.stages[key].kind, 2))

    def _start_ready(self, work: Path) -> None:
        state = self._state
        for key in list(state.ready):
            stage = self.plan.graph.stages[key]
            if stage.kind in HOST:
                state.ready.remove(key)
                self._run_host(stage, work)
                self._make_ready()
            elif len(self._running) < self.jobs:
                state.ready.remove(key)
                self._running[key] = stage
                job = make_job(
                    stage,
                    catalog=self.catalog,
                    store=self.store,
                    work=work,
                    checkpoints=self.store.root.parent / "checkpoints",
                    ceiling=self.plan.benchmark.ceiling,
                    device=self.device,
                )
                shutil.rmtree(job.folder, ignore_errors=True)
                job.folder.mkdir(parents=True)
                self.executor.start(job)

    def _run_host(self, stage: Stage, work: Path) -> None:
        begun = time.monotonic()
        out = work / f"{stage.key[:32]}-host"
        out.mkdir(parents=True)
        inputs = {name: self.store.part(one.key, one.part) for name, one in stage.inputs.items()}
        status, reason = "ok", ""
        try:
            HOST_STAGES[stage.kind](stage.recipe, inputs, out, self.data_root)
        except StageFailure as failure:
            status, reason = failure.status, failure.reason
        except UserError as error:
            status, reason = "missing", str(error)
        self._commit(stage, out, Result(status, reason, time.monotonic() - begun))

    def _ended(self, job: StageJob, result: Result) -> None:
        stage = self._running.pop(job.key)
        state = self._state
        if result.status == "infra_error" and state.tries[job.key] < INFRA_RETRIES:
            state.tries[job.key] += 1
            state.ready.append(job.key)
            return
        out = job.folder / "out"
        out.mkdir(exist_ok=True)
        extra: dict[str, Any] = {}
        if job.service is not None and result.status == "ok":
            result, extra = take_oracle(job, result)
        if (job.folder / "log.txt").is_file():
            copy_tail(job.folder / "log.txt", out / "log.txt")
        self._commit(stage, out, result, extra)
        shutil.rmtree(job.folder, ignore_errors=True)
        if result.status == "ok":
            shutil.rmtree(job.job["checkpoint"], ignore_errors=True)
            self.tally.overheads.append(result.seconds - result.hook_seconds)

    def _commit(
        self, stage: Stage, out: Path, result: Result, extra: dict[str, Any] | None = None
    ) -> None:
        receipt = {
            "kind": stage.kind,
            "status": result.status,
            "reason": result.reason,
            "seconds": round(result.seconds, 4),
            "hook_seconds": round(result.hook_seconds, 4),
            "peak_memory": result.peak_memory,
            "device_memory": result.device_memory,
            "passes": result.passes,
            "exit_code": result.exit_code,
            "modules": {r: m["module"] for r, m in stage.recipe.get("modules", {}).items()},
            "run": self.recorder.run_id,
            **(extra or {}),
        }
        try:
            self.store.commit(stage.key, out, receipt)
        except ValueError as error:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            result = Result("contract_violation", str(error), result.seconds)
            receipt |= {"status": result.status, "reason": result.reason}
            self.store.commit(stage.key, out, receipt)
        self.tally.stages += 1
        self.done.append(stage.key)
        state = self._state
        if result.status == "ok":
            for unmet in state.waiting.values():
                unmet.discard(stage.key)
        else:
            self.tally.failed += 1
            state.failed[stage.key] = stage.key
            for key in [k for k, unmet in state.waiting.items() if stage.key in unmet]:
                self._fail_downstream(key, stage.key)
        self._settle(stage)
        self._make_ready()
        self.tell(self.tally.stages, self._total, f"{stage.kind} {result.status}")

    def _fail_downstream(self, key: str, cause: str) -> None:
        """Mark a stage that can no longer run, and all that wait for it."""
        state = self._state
        if key in state.failed:
            return
        state.failed[key] = cause
        state.waiting.pop(key, None)
        if key in state.ready:
            state.ready.remove(key)
        self._total -= 1
        self._settle(self.plan.graph.stages[key])
        for reader in [k for k, unmet in state.waiting.items() if key in unmet]:
            self._fail_downstream(reader, cause)

    def _settle(self, stage: Stage) -> None:
        """A stage is done or cannot run: let go of passing artefacts and of cells that waited."""
        state = self._state
        for read in stage.reads():
            state.readers[read] -= 1
            self._let_go(read)
        self._let_go(stage.key)
        for waiting in state.open_cells.values():
            waiting.discard(stage.key)

    def _let_go(self, key: str) -> None:
        part = self.plan.graph.stages[key].passing
        if part and self._state.readers[key] <= 0 and not self.keep_all:
            self.store.remove_part(key, part)

    def _close_cells(self) -> None:
        """Record every cell that waits for nothing any more, at once: a kill loses nothing."""
        state = self._state
        for cell_id in [c for c, waiting in state.open_cells.items() if not waiting]:
            cell = self.plan.cells[cell_id]
            if any(member in state.open_cells for member in cell.members):
                continue
            del state.open_cells[cell_id]
            self.recorder.record(cell, self.plan)
            self.tally.records += 1
            self.tell(self.tally.stages, self._total, cell_id)


def take_oracle(job: StageJob, result: Result) -> tuple[Result, dict[str, Any]]:
    """Move the oracle's counts into the artefact; without them the stage did not happen."""
    import json

    assert job.service is not None
    counts = job.service.folder / "out" / "counts.npy"
    try:
        outcome = json.loads((job.service.folder / "outcome.json").read_text(encoding="utf-8"))
        (job.folder / "out" / "oracle").mkdir()
        shutil.copyfile(counts, job.folder / "out" / "oracle" / "counts.npy")
    except (OSError, ValueError):
        return Result("infra_error", "the oracle left no counts", result.seconds), {}
    if outcome["status"] != "ok":
        return Result("infra_error", f"the oracle failed: {outcome['reason']}", result.seconds), {}
    passes = dict(outcome["passes"])
    refused = passes.pop("refused", 0)
    done = Result(
        result.status,
        result.reason,
        result.seconds,
        result.hook_seconds,
        result.peak_memory,
        passes,
        result.device_memory,
        result.exit_code,
    )
    return done, {"oracle": {"refused": refused}}


def copy_tail(source: Path, target: Path, limit: int = 64 << 10) -> None:
    """Keep a log's head and tail; the middle of a long one is dropped and said to be."""
    size = source.stat().st_size
    with source.open("rb") as file:
        if size <= 2 * limit:
            target.write_bytes(file.read())
            return
        head = file.read(limit)
        file.seek(size - limit)
        gap = f"\n… {size - 2 * limit} bytes left out …\n".encode()
        target.write_bytes(head + gap + file.read())


class work_folder:
    """A run's own folder for stages in progress, locked while the run lives.

    Folders of runs that were killed are recognised by their lock being free, and removed. The lock
    lies beside its folder and is taken first, so that no live run's folder is ever without one.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._lock: IO[str] | None = None

    def __enter__(self) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        for lock in self.root.glob("*.lock"):
            if (held := locked(lock)) is not None:
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
                held.close()
        self._lock = locked(self.path.with_suffix(".lock"))
        self.path.mkdir()
        return self.path

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.with_suffix(".lock").unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()


def locked(path: Path) -> IO[str] | None:
    """An open file that holds the lock, or ``None`` while another process holds it."""
    file = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
