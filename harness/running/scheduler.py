"""Scheduler: runs the stages that missing records need, with retries, and frees disk meanwhile."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from harness.common.errors import UserError
from harness.common.files import remove_tree
from harness.common.status import TRANSIENT, By, Status
from harness.config.catalog import Catalog
from harness.executors.base import Executor, Result, StageJob
from harness.executors.blame import responsible
from harness.executors.declined import DeclinedChecker
from harness.executors.gpu_probe import probe_gpus
from harness.executors.outcome import last_line, save_log
from harness.planning.graph import Stage
from harness.planning.plan import Cell, Plan
from harness.planning.stage_keys import HOST
from harness.running.gpus import GpuPool
from harness.running.host_stages import HOST_STAGES, StageFailure
from harness.running.jobs import make_job
from harness.running.output_check import check_output
from harness.running.ready_set import ReadySet
from harness.running.recorder import Recorder
from harness.running.service_output import accept_service
from harness.running.tally import Tally
from harness.storage.mirror import Mirror
from harness.storage.receipt import ReceiptDraft
from harness.storage.run_folder import RunFolder
from harness.storage.store import Store, report_disk_errors

INFRA_RETRIES = 2
SUBJECTS = ("attack", "defense", "victim")
"""Roles by which a stage is named: the first that takes part in it."""
LONG_SECONDS = 5.0
"""Time after which the progress line shows a stage's last log line."""

ORDER = {
    **dict.fromkeys(("predict", "votes", "maps"), 0),
    **dict.fromkeys(("import", "public", "train", "deliver", "poison", "probe"), 1),
}
"""Rank of ready stages, after the host's own: first those that free disk, then those that unlock
most. All white-box cells of a network wait for its probe."""

PROVENANCE_ONLY = ("import", "train", "sanitize", "repair", "poison", "deliver", "learn", "apply")
"""Roles of a cell's stages that its score does not read; they record its provenance."""


class _Running(NamedTuple):
    """Stage that an executor runs, and the time at which it was started."""

    stage: Stage
    job: StageJob
    begun: float


class Scheduler:
    """Runs a plan's missing cells.

    Args:
        plan: cells and stages that could run.
        catalog: modules.
        store: store of artefacts.
        executor: place where stages run; the caller closes it. ``None`` to plan only.
        recorder: writer of records of finished cells.
        data_root: folder of fetched data.
        jobs: number of stages at once.
        device: ``cpu`` or ``cuda``.
        gpus: numbers of the GPUs to use.
        keep_all: whether intermediate artefacts are kept.
        mirror: another source of artefacts.
        tell: function that is called after each event, for progress.
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
        self.plan, self.catalog, self.store = plan, catalog, store
        self._place = executor and DeclinedChecker(executor)
        self.recorder, self.data_root, self.jobs, self.device = recorder, data_root, jobs, device
        self.mirror = mirror
        self._gpus, self._pool = gpus, GpuPool()
        self.keep_all, self.tell = keep_all, tell or (lambda done, total, what: None)
        self.tally = Tally()
        self.done: list[str] = []
        self._ready = ReadySet({}, rank, {})
        self._readers: Counter[str] = Counter()
        self._tries: Counter[str] = Counter()
        self._running: dict[str, _Running] = {}  # in the order of their start
        self._shared: set[str] = set()  # intermediate artefacts that another run may read
        self._total = 0

    @property
    def _executor(self) -> Executor:
        assert self._place is not None, "a scheduler without an executor can plan, not run"
        return self._place

    # -- what is missing ----------------------------------------------------------------------

    def missing(self, cells: list[Cell]) -> dict[str, Stage]:
        """Return the stages to run for these cells, without those verified in the store.

        A failure under a stage's key counts as done: it is shown, not repeated.
        """
        return self.missing_behind(score_inputs(cells))

    def missing_behind(self, keys: list[str]) -> dict[str, Stage]:
        """Return the stages to run for these stages, searched backwards along their inputs."""
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
        if receipt is not None and receipt.status != "ok":
            return receipt.status not in TRANSIENT
        if receipt is None and self.mirror is not None:
            self.mirror.pull(self.store, key)
        return self.store.has(key, part) and self.store.verify(key)

    def forget_failures(self, cells: list[Cell]) -> None:
        """Drop the failed entries of these cells' stages, for ``--retry-failed``."""
        keys = [k for cell in cells for k in cell.stages.values()]
        for key in self.plan.graph.ancestors(keys):
            receipt = self.store.receipt(key)
            if receipt is not None and receipt.status != "ok":
                self.store.drop(key)

    # -- running ------------------------------------------------------------------------------

    def run(self, cells: list[Cell]) -> Tally:
        """Run until every given cell has its record.

        Raises:
            UserError: the store is full or read-only; what was computed is kept.
        """
        return self._run(cells, score_inputs(cells))

    def run_stages(self, keys: list[str]) -> Tally:
        """Run single stages and their inputs, without any cell."""
        return self._run([], keys)

    def _run(self, cells: list[Cell], keys: list[str]) -> Tally:
        begun = time.monotonic()
        home = self.store.root.parent
        run_folder = RunFolder(home / "work", self.store.aside)
        with report_disk_errors(home), run_folder as self._folder:
            try:
                self._remove_old_checkpoints(home / "checkpoints")
                # not earlier: from here on, no other run removes files that this one may read
                self._plan_run(cells, self.missing_behind(keys))
                self._close_cells()
                if self._gpus and self._ready.peek():
                    self._pool = GpuPool(probe_gpus(self._executor, self._gpus, self._folder.path))
                while self._ready.peek() or self._running:
                    self._start_ready()
                    for job, result in self._executor.wait(1.0) if self._running else []:
                        self._ended(job, result)
                    self._report_longest()
                    self._close_cells()
                for key in list(self._shared):
                    self._free(key)
            finally:
                if self._running:  # stopped half-way: no stage may outlive the run's folder
                    self._executor.close()
        self.tally.seconds = time.monotonic() - begun
        return self.tally

    def _remove_old_checkpoints(self, folder: Path) -> None:
        """Remove checkpoints of finished stages, left where a run was killed."""
        for path in folder.glob("*"):
            if self.store.has(path.name):
                remove_tree(path)

    def _plan_run(self, cells: list[Cell], wanted: dict[str, Stage]) -> None:
        """Fill the ready set, and rule out the stages that read an earlier run's failure."""
        self._total = len(wanted)
        waits = {
            cell.id: {*(() if cell.reason else cell.stages.values()), *cell.members}
            for cell in cells
        }
        self._ready = ReadySet(wanted, rank, waits)
        self._readers.update(read for stage in wanted.values() for read in stage.reads())
        stored = {read: self.store.receipt(read) for read in self._readers.keys() - wanted.keys()}
        failed = {read for read, receipt in stored.items() if receipt and receipt.status != "ok"}
        for key, stage in wanted.items():
            if key not in self._ready.failed and not failed.isdisjoint(stage.reads()):
                self._total -= 1
                self._settle(stage)
                self._rule_out(key)

    def _start_ready(self) -> None:
        while (stage := self._ready.peek()) is not None:
            if stage.kind in HOST:
                self._run_host(self._ready.pop())
            elif len(self._running) < self.jobs and self._pool.any_free:
                # side by side, stages of two groups need one container each, two of one group two;
                # so prefer a group that does not run yet, whose containers are then reused
                self._start(self._ready.pop({rank(one.stage)[1] for one in self._running.values()}))
            else:
                return

    def _start(self, stage: Stage) -> None:
        with self._folder.exclusive() as exclusive:  # two runs must not write one checkpoint
            home = self.store.root.parent if exclusive else self._folder.path
        job = make_job(
            stage,
            catalog=self.catalog,
            store=self.store,
            work=self._folder.path,
            checkpoints=home / "checkpoints",
            ceiling=self.plan.benchmark.ceiling,
            device=self.device,
            gpu=self._pool.acquire(stage.key),
            environments=self.plan.environments,
            run=self.recorder.run_id,
        )
        remove_tree(job.folder)
        job.folder.mkdir(parents=True)
        self._running[stage.key] = _Running(stage, job, time.monotonic())
        self._executor.start(job)

    def _report_longest(self) -> None:
        """Report the last log line of the stage that has run longest, as progress."""
        longest = next(iter(self._running.values()), None)
        if longest is None or (seconds := time.monotonic() - longest.begun) < LONG_SECONDS:
            return
        modules = longest.stage.modules
        module = next(modules[role].module for role in SUBJECTS if role in modules)
        line = last_line(longest.job) or f"{seconds:.0f} s"
        what = f"{longest.stage.kind} {module.partition('/')[2]}: {line}"
        self.tell(self.tally.stages, self._total, what)

    def _run_host(self, stage: Stage) -> None:
        begun = time.monotonic()
        out = self._folder.path / f"{stage.key[:32]}-host"
        out.mkdir(parents=True)
        inputs = {name: self.store.part(one.key, one.part) for name, one in stage.inputs.items()}
        result = Result("ok", "", 0.0)
        try:
            HOST_STAGES[stage.kind](stage.recipe, inputs, out, self.data_root)
        except StageFailure as failure:
            result = replace(result, status=failure.status, reason=failure.reason, by=failure.by)
        except UserError as error:
            result = replace(result, status="missing", reason=str(error))
        self._commit(stage, out, replace(result, seconds=time.monotonic() - begun))

    def _ended(self, job: StageJob, result: Result) -> None:
        stage = self._running.pop(job.key).stage
        self._pool.release(job.key)
        if result.status == "ok" and (wrong := check_output(job)):
            result = replace(result, status="contract_violation", reason=wrong, by=None)
        if result.status == "ok" and job.service is not None:
            result = accept_service(job, result)
        if result.status == "infra_error" and self._tries[job.key] < INFRA_RETRIES:
            self._tries[job.key] += 1
            self._ready.push(job.key)
            return
        out = job.folder / "out"
        if result.status != "ok":
            remove_tree(out)
        out.mkdir(exist_ok=True)
        save_log(job, out / "log.txt")
        self._commit(stage, out, result)
        remove_tree(job.folder)
        if result.status == "ok":
            remove_tree(Path(job.file.checkpoint))
            self.tally.overheads.append(result.seconds - result.hook_seconds)

    def _commit(self, stage: Stage, out: Path, result: Result) -> None:
        """Store an ended stage's output and receipt; then start or rule out what reads it."""
        try:
            receipt = self.store.commit(
                stage.key, out, self._draft(stage, result), linked=stage.kind in HOST
            )
        except ValueError as error:  # the output holds something that is not a plain file
            remove_tree(out)
            out.mkdir()
            broken = replace(result, status="contract_violation", reason=str(error), by=None)
            receipt = self.store.commit(stage.key, out, self._draft(stage, broken))
        self.tally.count(receipt)
        self.done.append(stage.key)
        if receipt.status == "ok":
            self._ready.done(stage.key)
        else:
            self._rule_out(stage.key)
        self._settle(stage)
        self.tell(self.tally.stages, self._total, f"{stage.kind} {receipt.status}")

    def _draft(self, stage: Stage, result: Result) -> ReceiptDraft:
        return ReceiptDraft(
            kind=stage.kind,
            status=result.status,
            reason=result.reason,
            by=blame(stage, result.status, result.by),
            seconds=round(result.seconds, 4),
            hook_seconds=round(result.hook_seconds, 4),
            peak_memory=result.peak_memory,
            device_memory=result.device_memory,
            passes=result.passes,
            exit_code=result.exit_code,
            modules={role: ref.module for role, ref in stage.modules.items()},
            run=self.recorder.run_id,
            image=result.image,
            refused_queries=result.refused_queries,
            health=result.health,
        )

    def _rule_out(self, key: str) -> None:
        """Mark the readers of a failed stage, and theirs, as unable to run."""
        for lost in self._ready.fail(key):
            self._total -= 1
            self._settle(self.plan.graph.stages[lost])

    def _settle(self, stage: Stage) -> None:
        """Delete intermediate artefacts that no pending stage reads, after this one's end."""
        for read in stage.reads():
            self._readers[read] -= 1
            self._free(read)
        self._free(stage.key)

    def _free(self, key: str) -> None:
        """Delete an intermediate artefact without readers, unless another run may read it."""
        part = self.plan.graph.stages[key].intermediate
        if not part or self._readers[key] > 0 or self.keep_all:
            return
        with self._folder.exclusive() as exclusive:
            if exclusive:
                self.store.remove_part(key, part)
                self._shared.discard(key)
            else:
                self._shared.add(key)

    def _close_cells(self) -> None:
        """Record cells as soon as they wait for nothing, so that a kill loses no finished cell."""
        while self._ready.closing:
            cell_id = self._ready.closing.pop()
            self.recorder.record(self.plan.cells[cell_id], self.plan)
            self._ready.closed(cell_id)
            self.tally.records += 1
            self.tell(self.tally.stages, self._total, cell_id)


def blame(stage: Stage, status: Status, claim: By | None) -> By | None:
    """Return the party that a stage's failure is attributed to; ``None`` where it ended well."""
    if status == "ok":
        return None
    return responsible(stage.kind, stage.modules, status, claim)


def rank(stage: Stage) -> tuple[int, str]:
    """Return a stage's place among ready stages; the lowest starts first.

    Stages of one kind with the same modules follow each other: a container may serve them all.
    """
    if stage.kind in HOST:
        return -1, ""
    modules = sorted(ref.module for ref in stage.modules.values())
    return ORDER.get(stage.kind, 2), " ".join((stage.kind, *modules))


def score_inputs(cells: list[Cell]) -> list[str]:
    """Return the keys of the stages that these cells' scores read; what cannot run reads none."""
    return [
        key
        for cell in cells
        if cell.reason is None
        for role, key in cell.stages.items()
        if role not in PROVENANCE_ONLY
    ]
