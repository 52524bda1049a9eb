"""Recorder: makes the one record of a cell whose stages have ended."""

from __future__ import annotations

import datetime
import platform
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from harness.common.files import read_json
from harness.common.keys import ROOT, environment_digest
from harness.common.status import TRANSIENT, By, Status
from harness.config.environments import Environment, versions
from harness.judge import METHOD
from harness.planning.plan import Cell, Plan
from harness.planning.recipe import THREADS
from harness.results import records
from harness.results.attention import MAPS
from harness.results.checks import Checks
from harness.results.ensembles import score_ensemble
from harness.results.health import load_health
from harness.results.records import Record, RecordedCell, RecordedEnvironment, Run
from harness.results.scoring import Score, score
from harness.storage.receipt import Receipt
from harness.storage.store import Store


@dataclass(frozen=True)
class Ending:
    """How a cell ended.

    Attributes:
        status: of the closed list.
        stage: kind of the stage that failed, or ``None``.
        reason: one sentence, unless it is ok.
        by: role that the ending is put down to, unless it is ok.
    """

    status: Status
    stage: str | None = None
    reason: str | None = None
    by: By | None = None


class Recorder:
    """Recorder of one run.

    Args:
        store: where the receipts are.
        root: where records go.
        executor: where stages run.
        device: ``cpu`` or ``cuda``.
        checkout: the checkout, whose commit records name.
        checks: results of ``gauntlet check``; without them every module counts as unchecked.

    Attributes:
        run_id: the run's name in records, labels and receipts.
        by_key: records by cell key, those of this run among them.
    """

    def __init__(
        self,
        store: Store,
        root: Path,
        executor: str,
        device: str,
        checkout: Path = ROOT,
        checks: Checks | None = None,
    ) -> None:
        self.store, self.root = store, root
        self._checks = checks
        self.executor, self.device, self.checkout = executor, device, checkout
        self.run_id = uuid.uuid4().hex[:12]
        self.by_key: dict[str, Record] = {}

    def record(self, cell: Cell, plan: Plan) -> Record:
        """Score a cell and write its record; failures are recorded as what they are."""
        info = RecordedCell.model_validate(cell.info.to_json())
        end, judged = self._judge(cell, plan, info)
        receipts = self._receipts(cell)
        health, examples = load_health(cell.stages, self.store), self._examples(cell, plan)
        record = records.finish(
            {
                "key": cell.key,
                "id": cell.id,
                "cell": info,
                "status": end.status,
                "stage": end.stage,
                "reason": end.reason,
                **({} if end.by is None else {"by": end.by}),
                "metrics": judged.metrics,
                "parts": judged.parts,
                "outcomes": judged.outcomes,
                "confusions": judged.confusions,
                "flips": judged.flips,
                "perturbation": judged.perturbation,
                "queries": judged.queries,
                **({} if judged.attention is None else {"attention": judged.attention}),
                **({} if health is None else {"health": health}),
                "cost": costs(receipts),
                "flags": judged.flags,
                "notes": judged.notes,
                **({} if examples is None else {"examples": examples}),
                **({} if judged.handed is None else {"handed": judged.handed}),
                "stages": dict(cell.stages),
                "members": list(cell.members),
                "modules": dict(cell.modules),
                "params": {role: dict(params) for role, params in cell.params.items()},
                "method": METHOD,
                "environment": self._environment,
                "run": self._run(receipts, cell.modules),
            }
        )
        records.write(self.root, record)
        self.by_key[cell.key] = record
        return record

    def _examples(self, cell: Cell, plan: Plan) -> str | None:
        """Return the digest of what a cell is judged on; its members' where it is an ensemble."""
        if "slice" in cell.stages:
            path = self.store.part(cell.stages["slice"], "rows") / "examples.json"
            return read_json(path) if path.is_file() else None
        found = {self.by_key[plan.cells[name].key].examples for name in cell.members}
        return found.pop() if len(found) == 1 else None

    def _run(self, receipts: Mapping[str, Receipt], modules: Mapping[str, str]) -> Run:
        commit, dirty = self._commit
        return Run(
            id=self.run_id,
            commit=commit,
            dirty=dirty,
            finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            seconds={role: r.seconds for role, r in receipts.items()},
            hook_seconds={role: r.hook_seconds for role, r in receipts.items()},
            peak_memory={role: r.peak_memory for role, r in receipts.items()},
            machine=self._machine,
            images={role: r.image for role, r in receipts.items() if r.image},
            checks={} if self._checks is None else self._checks.of_all(modules),
        )

    def _judge(self, cell: Cell, plan: Plan, info: RecordedCell) -> tuple[Ending, Score]:
        if cell.reason is not None:
            return Ending(cell.status, None, cell.reason, cell.by), Score()
        if cell.members:
            members = [self.by_key[plan.cells[name].key] for name in cell.members]
            judged = score_ensemble(info.task, members)
            return Ending(judged.status, None, judged.reason, judged.by), judged
        failure = self._failure(cell, plan)
        if failure is not None:
            return failure, Score()
        judged = score(
            info,
            cell.stages,
            self.store,
            random=cell.random,
            minimal=cell.minimal,
            absent=cell.absent,
            handed=cell.handed,
        )
        judged.notes += [*cell.omissions, *cell.remarks]
        stage = None if judged.status == "ok" else "score"
        return Ending(judged.status, stage, judged.reason, judged.by), judged

    def _failure(self, cell: Cell, plan: Plan) -> Ending | None:
        """Return how a failed stage ends its cell, or ``None`` where all went well.

        A failure of the attack or defence under test is the cell's own status; a failure of
        anything else – data, the undefended victim, a control – blocks it. Of several, a module
        that cannot play goes first, whatever the defence did; then the cell's own. Maps of
        attention go into no score, so that a network without any has its result.
        """
        maps = {cell.stages[role] for role in MAPS if role in cell.stages}
        numbers = enumerate(cell.handed, 1)
        handed = {cell.stages[f"attack_{number}"]: label for number, label in numbers}
        own: Ending | None = None
        blocked: Ending | None = None
        for key, stage in plan.graph.ancestors(list(cell.stages.values())).items():
            receipt = self.store.receipt(key)
            if receipt is None or receipt.status == "ok":
                continue
            status, reason = receipt.status, receipt.reason
            if key in handed:
                reason = f"{handed[key]}: {reason}"
            if key in maps and status not in TRANSIENT:
                continue
            names = ", ".join(dict.fromkeys(ref.module for ref in stage.modules.values()))
            by = receipt.by
            if status == "not_applicable":
                if by == "attack" and cell.handed:  # one of several, which have no result now
                    return Ending("blocked", stage.kind, f"{reason}; leave it out", by)
                if by != "defense":
                    return Ending(status, stage.kind, reason, by)
                status = "avoided"
            # what another defence makes impossible is no fault of the one that borrows its inputs
            theirs = () if cell.info.made_against else ("avoided",)
            if key in cell.own or status in (*theirs, *TRANSIENT):
                own = own or Ending(status, stage.kind, reason, by)
            what = f"{stage.kind} ({names or 'harness'}) {status}: {reason}"
            blocked = blocked or Ending("blocked", stage.kind, what, by)
        return own or blocked

    def _receipts(self, cell: Cell) -> dict[str, Receipt]:
        found = {role: self.store.receipt(key) for role, key in cell.stages.items()}
        return {role: receipt for role, receipt in found.items() if receipt is not None}

    @cached_property
    def _environment(self) -> RecordedEnvironment:
        local = {
            "python": platform.python_version(),
            "torch": version("torch"),
            "lock": environment_digest(),
        }
        contained = versions() | {"lock": Environment(self.device).key}
        return RecordedEnvironment.model_validate(
            {
                "executor": self.executor,
                "device": self.device,
                "threads": THREADS,
                **(contained if self.executor == "docker" else local),
            }
        )

    @cached_property
    def _commit(self) -> tuple[str | None, bool | None]:
        """Commit of the checkout, and whether tracked files are changed; ``None`` outside git."""
        commit = git(self.checkout, "rev-parse", "HEAD")
        changed = (
            git(self.checkout, "status", "--porcelain", "--untracked-files=no") if commit else None
        )
        return commit, bool(changed) if commit else None

    @cached_property
    def _machine(self) -> str:
        return f"{platform.system()} {platform.machine()}, {cpu_name()}"


def costs(receipts: Mapping[str, Receipt]) -> dict[str, dict[str, int]]:
    """Return role → rows sent through a network; ``attack`` is the sum of attacks in order."""
    found = {role: dict(receipt.passes) for role, receipt in receipts.items() if receipt.passes}
    several = [passes for role, passes in found.items() if role.startswith("attack_")]
    if several:
        names = dict.fromkeys(name for passes in several for name in passes)
        found["attack"] = {name: sum(p.get(name, 0) for p in several) for name in names}
    return found


def git(checkout: Path, *arguments: str) -> str | None:
    """Return the answer of a git query, or ``None`` where there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def cpu_name() -> str:
    """Return the processor's name as Linux gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown processor"
    names = [
        line.partition(":")[2].strip()
        for line in text.splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else "unknown processor"
