"""Runs what is missing, backwards from missing records: ready set, retries, passing artefacts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from harness.common.errors import UserError
from harness.common.files import remove_tree
from harness.config.catalog import Catalog
from harness.config.threat import By
from harness.executors.base import Executor, Result, StageJob
from harness.executors.gpu_probe import usable
from harness.executors.outcome import copy_tail, last_line, take_oracle
from harness.executors.responsible import responsible
from harness.planning.graph import HOST, Stage
from harness.planning.plan import Cell, Plan
from harness.running.gpus import Leases
from harness.running.host_stages import HOST_STAGES, StageFailure
from harness.running.jobs import make_job
from harness.running.output_check import check_output
from harness.running.ready_set import Agenda
from harness.running.recorder import Recorder
from harness.storage.mirror import Mirror
from harness.storage.run_folder import WorkFolder
from harness.storage.store import TRANSIENT, Store, told

INFRA_RETRIES = 2
SPEAKERS = ("attack", "defense", "victim")
"""Whose stage it is: the first of these roles that is there."""
LONG_SECONDS = 5.0
"""A stage that has run for so long tells what it is at."""

ORDER = {"predict": 0, "import": 1, "public": 1, "train": 1, "deliver": 1, "poison": 1}
"""Which of several ready stages goes first, after the host's own: what frees disk, then what
unlocks most."""

PROVENANCE_ONLY = ("import", "train", "sanitize", "repair", "poison", "deliver", "learn", "apply")
"""Roles of a cell that say where it came from; its score does not read them."""


@dataclass
class Tally:
    """What a run did."""

    stages: int = 0
    failed: int = 0
    records: int = 0
    seconds: float = 0.0
    overheads: list[float] = field(default_factory=list)


class _Running(NamedTuple):
    """A stage that an executor has, and when it got it."""

    stage: Stage
    job: StageJob
    begun: float


class Scheduler:
    """Runs a plan's missing cells.

    Args:
        plan: what could run. catalog: modules. store: artefacts.
        executor: where stages run; whoever made it closes it. ``None`` to only plan.
        recorder: turns finished cells into records. data_root: fetched data.
        jobs: stages at once. device: ``cpu`` or ``cuda``. gpus: numbers of those to use.
        keep_all: leave passing artefacts. mirror: where else to look for artefacts.
        tell: called after each event, for progress.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        catalog: Catalog,
        store: Store,
        executor: Executor | None,
        recorder: Recorder,
        data_root: Path,
        jobs: int,
        device: str = "cpu",
        gpus: Sequence[str] = (),
        keep_all: bool = False,
        mirror: Mirror | None = None,
        tell: Callable[[int, int, str], None] | None = None,
    ) -> None:
        self.plan, self.catalog, self.store, self._place = plan, catalog, store, executor
        self.recorder, self.data_root, self.jobs, self.device = recorder, data_root, jobs, device
        self.mirror = mirror
        self._gpus, self._leases = gpus, Leases()
        self.keep_all, self.tell = keep_all, tell or (lambda done, total, what: None)
        self.tally = Tally()
        self.done: list[str] = []
        self._agenda = Agenda({}, rank, {})
        self._readers: Counter[str] = Counter()
        self._tries: Counter[str] = Counter()
        self._running: dict[str, _Running] = {}  # in the order of their beginning
        self._shared: set[str] = set()  # passing artefacts that another run may be reading
        self._total = 0

    @property
    def _executor(self) -> Executor:
        assert self._place is not None, "a scheduler without an executor can plan, not run"
        return self._place

    # -- what is missing ----------------------------------------------------------------------

    def missing(self, cells: list[Cell]) -> dict[str, Stage]:
        """Stages to run for these cells; what lies verified in the store is not among them.

        A failure under a stage's key counts as done: it is shown, not repeated.
        """
        return self.missing_behind(read_by(cells))

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
            return receipt["status"] not in TRANSIENT
        if receipt is None and self.mirror is not None:
            self.mirror.pull(self.store, key)
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
        return self._run(cells, read_by(cells))

    def run_stages(self, keys: list[str]) -> Tally:
        """Run single stages and what they read, without any cell."""
        return self._run([], keys)

    def _run(self, cells: list[Cell], keys: list[str]) -> Tally:
        begun = time.monotonic()
        home = self.store.root.parent
        with told(home), WorkFolder(home / "work", self.store.aside) as self._work:
            try:
                self._sweep_checkpoints(home / "checkpoints")
                # only now: from here on, no other run removes what this one may read
                self._set_out(cells, self.missing_behind(keys))
                self._close_cells()
                if self._gpus and self._agenda.peek():
                    self._leases = Leases(usable(self._executor, self._gpus, self._work.path))
                while self._agenda.peek() or self._running:
                    self._start_ready()
                    for job, result in self._executor.wait(1.0) if self._running else []:
                        self._ended(job, result)
                    self._tell_running()
                    self._close_cells()
                for key in list(self._shared):
                    self._let_go(key)
            finally:
                if self._running:  # stopped half-way: no stage may outlive its work folder
                    self._executor.close()
        self.tally.seconds = time.monotonic() - begun
        return self.tally

    def _sweep_checkpoints(self, folder: Path) -> None:
        """Remove checkpoints of stages that are done: their run was killed before it could."""
        for path in folder.glob("*"):
            if self.store.has(path.name):
                remove_tree(path)

    def _set_out(self, cells: list[Cell], wanted: dict[str, Stage]) -> None:
        """Fill the agenda: what waits for what, and what an earlier run's failures rule out."""
        self._total = len(wanted)
        waits = {cell.id: {*cell.stages.values(), *cell.members} for cell in cells}
        self._agenda = Agenda(wanted, rank, waits)
        self._readers.update(read for stage in wanted.values() for read in stage.reads())
        there = {read: self.store.receipt(read) for read in self._readers.keys() - wanted.keys()}
        bad = {read for read, receipt in there.items() if receipt and receipt["status"] != "ok"}
        for key, stage in wanted.items():
            if key not in self._agenda.failed and not bad.isdisjoint(stage.reads()):
                self._total -= 1
                self._settle(stage)
                self._rule_out(key)

    def _start_ready(self) -> None:
        while (stage := self._agenda.peek()) is not None:
            if stage.kind in HOST:
                self._run_host(self._agenda.pop())
            elif len(self._running) < self.jobs and self._leases.any_free:
                # side by side, stages of two groups need one container each; of one group, two
                self._start(
                    self._agenda.pop({rank(one.stage)[1] for one in self._running.values()})
                )
            else:
                return

    def _start(self, stage: Stage) -> None:
        with self._work.alone() as alone:  # two runs must not write one checkpoint
            home = self.store.root.parent if alone else self._work.path
        job = make_job(
            stage,
            catalog=self.catalog,
            store=self.store,
            work=self._work.path,
            checkpoints=home / "checkpoints",
            ceiling=self.plan.benchmark.ceiling,
            device=self.device,
            gpu=self._leases.take(stage.key),
            environment=self.plan.environments.of(ref.module for ref in stage.modules.values()),
            run=self.recorder.run_id,
        )
        remove_tree(job.folder)
        job.folder.mkdir(parents=True)
        self._running[stage.key] = _Running(stage, job, time.monotonic())
        self._executor.start(job)

    def _tell_running(self) -> None:
        """What the stage that has run for longest is at: the last line that it logged."""
        longest = next(iter(self._running.values()), None)
        if longest is None or (seconds := time.monotonic() - longest.begun) < LONG_SECONDS:
            return
        modules = longest.stage.modules
        runs = next(modules[role].module for role in SPEAKERS if role in modules)
        said = last_line(longest.job) or f"{seconds:.0f} s"
        what = f"{longest.stage.kind} {runs.partition('/')[2]}: {said}"
        self.tell(self.tally.stages, self._total, what)

    def _run_host(self, stage: Stage) -> None:
        begun = time.monotonic()
        out = self._work.path / f"{stage.key[:32]}-host"
        out.mkdir(parents=True)
        inputs = {name: self.store.part(one.key, one.part) for name, one in stage.inputs.items()}
        status, reason, by = "ok", "", None
        try:
            HOST_STAGES[stage.kind](stage.recipe, inputs, out, self.data_root)
        except StageFailure as failure:
            status, reason, by = failure.status, failure.reason, failure.by
        except UserError as error:
            status, reason = "missing", str(error)
        self._commit(stage, out, Result(status, reason, time.monotonic() - begun, by=by))

    def _ended(self, job: StageJob, result: Result) -> None:
        stage = self._running.pop(job.key).stage
        self._leases.give(job.key)
        extra: dict[str, Any] = {}
        if result.status == "ok" and (wrong := check_output(job)):
            result = replace(result, status="contract_violation", reason=wrong, by=None)
        if result.status == "ok" and job.service is not None:
            result, extra = take_oracle(job, result)
        if result.status == "infra_error" and self._tries[job.key] < INFRA_RETRIES:
            self._tries[job.key] += 1
            self._agenda.push(job.key)
            return
        out = job.folder / "out"
        if result.status != "ok":
            remove_tree(out)
        out.mkdir(exist_ok=True)
        if (job.folder / "log.txt").is_file():
            copy_tail(job.folder / "log.txt", out / "log.txt")
        self._commit(stage, out, result, extra)
        remove_tree(job.folder)
        if result.status == "ok":
            remove_tree(Path(job.job["checkpoint"]))
            self.tally.overheads.append(result.seconds - result.hook_seconds)

    def _commit(
        self, stage: Stage, out: Path, result: Result, extra: dict[str, Any] | None = None
    ) -> None:
        receipt = {
            "kind": stage.kind,
            "status": result.status,
            "reason": result.reason,
            "by": blamed(stage, result.status, result.by),
            "seconds": round(result.seconds, 4),
            "hook_seconds": round(result.hook_seconds, 4),
            "peak_memory": result.peak_memory,
            "device_memory": result.device_memory,
            "passes": result.passes,
            "exit_code": result.exit_code,
            "modules": {role: ref.module for role, ref in stage.modules.items()},
            "run": self.recorder.run_id,
            **({} if result.image is None else {"image": result.image}),
            **(extra or {}),
        }
        try:
            kept = self.store.commit(stage.key, out, receipt)
        except ValueError as error:
            remove_tree(out)
            out.mkdir()
            receipt |= {"status": "contract_violation", "reason": str(error)}
            receipt |= {"by": blamed(stage, "contract_violation", None)}
            kept = self.store.commit(stage.key, out, receipt)
        self.tally.stages += 1
        self.done.append(stage.key)
        if kept["status"] == "ok":
            self._agenda.done(stage.key)
        else:
            self.tally.failed += 1
            self._rule_out(stage.key)
        self._settle(stage)
        self.tell(self.tally.stages, self._total, f"{stage.kind} {kept['status']}")

    def _rule_out(self, key: str) -> None:
        """A stage has failed or cannot run: what reads it cannot run either."""
        for lost in self._agenda.fail(key):
            self._total -= 1
            self._settle(self.plan.graph.stages[lost])

    def _settle(self, stage: Stage) -> None:
        """A stage is done or cannot run: let go of passing artefacts without another reader."""
        for read in stage.reads():
            self._readers[read] -= 1
            self._let_go(read)
        self._let_go(stage.key)

    def _let_go(self, key: str) -> None:
        """Remove a passing artefact without readers, unless another run may be reading it."""
        part = self.plan.graph.stages[key].passing
        if not part or self._readers[key] > 0 or self.keep_all:
            return
        with self._work.alone() as alone:
            if alone:
                self.store.remove_part(key, part)
                self._shared.discard(key)
            else:
                self._shared.add(key)

    def _close_cells(self) -> None:
        """Record every cell that waits for nothing any more, at once: a kill loses nothing."""
        while self._agenda.closing:
            cell_id = self._agenda.closing.pop()
            self.recorder.record(self.plan.cells[cell_id], self.plan)
            self._agenda.closed(cell_id)
            self.tally.records += 1
            self.tell(self.tally.stages, self._total, cell_id)


def blamed(stage: Stage, status: str, claim: By | None) -> By | None:
    """Return what a stage's failure is put down to; ``None`` where it ended well."""
    if status == "ok":
        return None
    return responsible(stage.kind, stage.modules, status, claim)


def rank(stage: Stage) -> tuple[int, str]:
    """Which of several ready stages goes first: the lowest.

    Stages of one kind with the same modules follow each other: a container may serve them all.
    """
    if stage.kind in HOST:
        return -1, ""
    modules = sorted(ref.module for ref in stage.modules.values())
    return ORDER.get(stage.kind, 2), " ".join((stage.kind, *modules))


def read_by(cells: list[Cell]) -> list[str]:
    """Keys of the stages that these cells' scores read."""
    return [k for cell in cells for role, k in cell.stages.items() if role not in PROVENANCE_ONLY]
