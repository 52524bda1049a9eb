"""Smoke runs of one module beside the reference modules, in a store of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.config.benchmark import Benchmark
from harness.config.catalog import Catalog, Module
from harness.config.strict_yaml import Json
from harness.executors.base import Executor
from harness.planning.graph import Input
from harness.planning.plan import Plan, make_plan
from harness.planning.recipe import Recipe
from harness.results.records import Record
from harness.running.recorder import Recorder
from harness.running.scheduler import Scheduler
from harness.storage.store import Store
from harness.workspace import Workspace

KINDS = {"victim": "victim", "defense": "defence", "attack": "attack"}
"""Kind of module → the word for it."""

_HEADING = {"title": "Conformance", "question": "Does the module keep its contract?"}

FAIR = ("ok", "not_applicable", "avoided")
"""Statuses in which cells of a correct module may end."""


@dataclass(frozen=True)
class CheckResult:
    """Result of one conformance check.

    Attributes:
        name: what was checked.
        ok: whether the module passed.
        detail: what was found; may be empty.
        tried: whether it could be checked; if not, ``detail`` says what this checkout lacks.
    """

    name: str
    ok: bool
    detail: str = ""
    tried: bool = True


class SmokeRunner:
    """Runs small benchmarks with one module.

    Args:
        workspace: the checkout with the reference modules.
        module: the folder under test; may lie outside the checkout.
        executor: where stages run; one for all runs, as each new one imports torch.
        store: where artefacts go; victims trained for one module serve the next.

    Attributes:
        plan: the plan of the latest run.
        records: its records by cell id.
    """

    def __init__(
        self, workspace: Workspace, module: Module, executor: Executor, store: Store
    ) -> None:
        self.workspace, self.module, self.executor, self.store = workspace, module, executor, store
        manifest = module.manifest
        modules = workspace.catalog.modules | {(manifest.kind, manifest.name): module}
        self.catalog = Catalog(workspace.root, modules)
        self._plan: Plan | None = None
        self.records: dict[str, Record] = {}

    @property
    def plan(self) -> Plan:
        """Plan of the latest run."""
        assert self._plan is not None
        return self._plan

    def run(self, matrix: Mapping[str, Json]) -> dict[str, Record]:
        """Run one matrix; return records by cell id.

        Reference attacks that this checkout lacks are left out; ``check_opponents`` reports them.
        """
        known = {name for kind, name in self.catalog.modules if kind == "attack"}
        attacks = matrix["attacks"]
        assert isinstance(attacks, list)
        present = [one for one in attacks if not isinstance(one, str) or one in known]
        benchmark = Benchmark.model_validate(
            {
                "schema": "benchmark/1",
                "name": "conformance",
                **_HEADING,
                "ceiling": {"minutes": 5.0, "memory_gb": 4.0},
                "matrices": [
                    {"name": "smoke", **_HEADING, "seeds": [0], **matrix}
                    | {"attacks": present or ["noop"]}
                ],
            }
        )
        where = self.executor.name
        self._plan = plan = make_plan(
            benchmark, self.catalog, self.workspace.datasets, executor=where
        )
        with tempfile.TemporaryDirectory(prefix="gauntlet-check-") as folder:
            recorder = Recorder(self.store, Path(folder), where, "cpu")
            scheduler = self.make_scheduler(plan, recorder)
            scheduler.forget_failures(list(plan.cells.values()))
            scheduler.run(list(plan.cells.values()))
            self.records = {c.id: recorder.by_key[c.key] for c in plan.cells.values()}
        return self.records

    def make_scheduler(self, plan: Plan, recorder: Recorder) -> Scheduler:
        """Make a scheduler that runs one stage at a time."""
        return Scheduler(
            plan,
            catalog=self.catalog,
            store=recorder.store,
            executor=self.executor,
            recorder=recorder,
            data_root=self.workspace.data,
            jobs=1,
            keep_all=True,
        )

    def run_stage(self, kind: str, inputs: dict[str, Input], recipe: Recipe) -> tuple[str, str]:
        """Run one stage beside those of the latest plan.

        Returns:
            The stage's key, and why it failed; ``""`` if it did not.
        """
        key = self.plan.graph.add(kind, inputs, recipe)
        with tempfile.TemporaryDirectory(prefix="gauntlet-check-") as folder:
            recorder = Recorder(self.store, Path(folder), self.executor.name, "cpu")
            self.make_scheduler(self.plan, recorder).run_stages([key])
        receipt = self.store.receipt(key)
        if receipt is None:
            return key, "no receipt"
        return key, "" if receipt.status == "ok" else receipt.reason

    def is_stored(self, key: str) -> bool:
        """Return whether a stage ended well."""
        receipt = self.store.receipt(key)
        return receipt is not None and receipt.status == "ok"

    def reason_of(self, record: Record) -> str:
        """Return why a record has no result, with the module that is at fault."""
        reason = record.reason or ""
        if record.by not in KINDS:
            return reason
        who = f"{KINDS[record.by]} {getattr(record.cell, record.by)}: {reason}"
        return who if record.by == self.module.manifest.kind else f"not this module but {who}"

    def is_own(self, record: Record, variant: str | None) -> bool:
        """Return whether a record is about the module, in this variant."""
        manifest = self.module.manifest
        label = f"{manifest.name}/{variant}" if variant else manifest.name
        return bool(getattr(record.cell, manifest.kind) == label)


def answers(record: Record) -> str:
    """Return the stage in which a network answers under attack: its votes, or its predictions."""
    return record.stages.get("votes_after", record.stages["after"])
