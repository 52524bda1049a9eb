"""What every module folder must pass, found by walking: no list of modules anywhere.

The checks run the module for real, on small bundled data, beside the reference modules of this
checkout; the same stages, the same judge.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.common.files import load_array
from harness.config.benchmark import Benchmark
from harness.config.catalog import Catalog, Module
from harness.config.manifest_parts import Expect
from harness.conformance.smoke import ATTACKS, BUDGETS, EDGES, matrix_for, settings
from harness.executors.base import Executor
from harness.planning.graph import Input
from harness.planning.plan import Plan, make_plan
from harness.results.records import Record
from harness.running.recorder import Recorder
from harness.running.scheduler import Scheduler
from harness.storage.store import Store
from harness.workspace import Workspace

FAIR = ("ok", "not_applicable", "avoided")
"""Statuses in which a well-made module may end."""


@dataclass(frozen=True)
class Check:
    """One named check: whether it held, and what was found."""

    name: str
    ok: bool
    detail: str = ""


class Bench:
    """Runs small benchmarks with a module in a scratch store.

    Args:
        workspace: the checkout with the reference modules.
        module: the folder under test; may lie outside the checkout.
        executor: where stages run; one for all runs, as each new one imports torch.
        store: where artefacts go; victims trained for one module serve the next.
    """

    def __init__(
        self, workspace: Workspace, module: Module, executor: Executor, store: Store
    ) -> None:
        self.workspace, self.module, self.executor, self.store = workspace, module, executor, store
        manifest = module.manifest
        modules = workspace.catalog.modules | {(manifest.kind, manifest.name): module}
        self.catalog = Catalog(workspace.root, modules)
        self.plan: Plan | None = None

    def run(self, matrix: Mapping[str, Any]) -> dict[str, Record]:
        """Run one matrix; returns records by cell id."""
        benchmark = Benchmark.model_validate(
            {
                "schema": "benchmark/1",
                "name": "conformance",
                "ceiling": {"minutes": 5.0, "memory_gb": 4.0},
                "matrices": [{"name": "smoke", "seeds": [0], **matrix}],
            }
        )
        where = self.executor.name
        plan = make_plan(benchmark, self.catalog, self.workspace.data, executor=where)
        self.plan = plan
        with tempfile.TemporaryDirectory(prefix="gauntlet-check-") as folder:
            recorder = Recorder(self.store, Path(folder), where, "cpu")
            scheduler = self.scheduler(plan, recorder)
            scheduler.forget_failures(list(plan.cells.values()))
            scheduler.run(list(plan.cells.values()))
            return {cell.id: recorder.by_key[cell.key] for cell in plan.cells.values()}

    def scheduler(self, plan: Plan, recorder: Recorder) -> Scheduler:
        """A scheduler that runs one stage at a time."""
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

    def stage(self, kind: str, inputs: dict[str, Input], recipe: dict[str, Any]) -> tuple[str, str]:
        """Run one stage beside the last plan's; returns its key, and its failure or ``""``."""
        assert self.plan is not None
        key = self.plan.graph.add(kind, inputs, recipe)
        with tempfile.TemporaryDirectory(prefix="gauntlet-check-") as folder:
            recorder = Recorder(self.store, Path(folder), self.executor.name, "cpu")
            self.scheduler(self.plan, recorder).run_stages([key])
        receipt = self.store.receipt(key) or {"status": "infra_error", "reason": "no receipt"}
        return key, "" if receipt["status"] == "ok" else str(receipt["reason"])


def conformance(
    workspace: Workspace, module: Module, executor: Executor, store: Store
) -> Iterator[Check]:
    """Every check of a module, in order; stops early when the module cannot even be loaded."""
    bench = Bench(workspace, module, executor, store)
    yield from _loads(bench)
    ran = 0
    variants = (None, *module.manifest.variants)
    for threat, task in settings(module):
        budget = _smoke_budget(module, threat)
        for variant in variants:
            name = f"{threat}/{task}" + (f"/{variant}" if variant else "")
            records = bench.run(matrix_for(module, threat, task, variant, [budget]))
            own = [r for r in records.values() if _is_own(r, module, variant)]
            statuses = sorted({r.status for r in own})
            reasons = "; ".join(sorted({r.reason or "" for r in own if r.status != "ok"}))
            yield Check(f"runs {name}", bool(own) and set(statuses) <= set(FAIR), reasons)
            good = [r for r in own if r.status == "ok"]
            ran += len(good)
            if variant == _smoke_variant(module) and good:
                yield from _expectation(module, threat, task, records, variant)
            if variant is None and good:
                yield from _deeper(bench, module, records, name)
        yield from _edges(bench, module, threat, task)
    yield Check("plays", ran > 0, "" if ran else "every variant was skipped: nothing was tested")


def _loads(bench: Bench) -> Iterator[Check]:
    module = bench.module
    threat, task = (
        settings(module)[0] if settings(module) else ("evasion", module.manifest.tasks[0])
    )
    bench.run(matrix_for(module, threat, task, None, [_smoke_budget(module, threat)]))
    assert bench.plan is not None
    data = next(s for s in bench.plan.graph.stages.values() if s.kind == "data")
    ref = {"module": module.ref, "digest": module.digest,
           "params": module.manifest.resolve(None, {})}  # fmt: skip
    recipe = {
        "modules": {module.manifest.kind: ref},
        "seed": 0,
        "threads": 1,
        "budget": {},
        "options": {},
    }
    _, failure = bench.stage("inspect", {"spec": Input(data.key, "")}, recipe)
    yield Check("hooks declared = implemented, signatures", not failure, failure)


def _smoke_variant(module: Module) -> str | None:
    return module.manifest.smoke.variant if module.manifest.smoke else None


def _smoke_budget(module: Module, threat: str) -> dict[str, Any]:
    smoke = module.manifest.smoke
    budget = smoke.budget if smoke is not None else None
    if smoke is None or budget is None or smoke.threat_model not in (None, threat):
        return BUDGETS[threat]
    fits = not list(budget.problems_under(threat))  # type: ignore[arg-type]
    return dict(budget.to_json()) if fits else BUDGETS[threat]


def _label(module: Module, variant: str | None) -> str:
    return f"{module.manifest.name}/{variant}" if variant else module.manifest.name


def _is_own(record: Record, module: Module, variant: str | None) -> bool:
    return bool(getattr(record.cell, module.manifest.kind) == _label(module, variant))


def _expectation(
    module: Module,
    threat: str,
    task: str,
    records: Mapping[str, Record],
    variant: str | None,
) -> Iterator[Check]:
    """The smoke expectation holds for the module and fails for the identity control."""
    smoke = module.manifest.smoke
    if smoke is None or not smoke.expect:
        yield Check("smoke expectation given", module.manifest.name in ("none",),
                    "add smoke: {expect: …} to the manifest")  # fmt: skip
        return
    if smoke.task not in (None, task) or smoke.threat_model not in (None, threat):
        return
    kind = module.manifest.kind
    own = [r for r in records.values() if _is_own(r, module, variant) and r.status == "ok"]
    if kind == "defense":
        own = [r for r in own if r.cell.attack == ATTACKS[threat]]
    control = [
        r
        for r in records.values()
        if r.status == "ok"
        and (
            (kind == "attack" and r.cell.attack == "noop")
            or (kind == "defense" and r.cell.defense == "none"
                and r.cell.attack == ATTACKS[threat])
        )
    ]  # fmt: skip
    for metric, expect in smoke.expect.items():
        values = [r.metric(metric) for r in own]
        if all(v is None for v in values):
            continue
        reached = all(v is not None and holds(expect, v) for v in values)
        name = f"expects {metric} {threat}/{task}"
        yield Check(name, reached, f"found {values}, expected {expect.min}–{expect.max}")
        if kind == "victim" or module.manifest.name == control_name(kind):
            continue
        others = [r.metric(metric) for r in control]
        fooled = [v for v in others if v is not None and holds(expect, v)]
        yield Check(
            f"control fails {metric} {threat}/{task}",
            not fooled,
            f"the identity control reaches {fooled}: the expectation tests nothing"
            if fooled
            else "",
        )


def control_name(kind: str) -> str:
    """The identity control of a kind."""
    return {"attack": "noop", "defense": "none"}.get(kind, "")


def holds(expect: Expect, value: float) -> bool:
    """Whether a value lies in an expected range."""
    above = expect.min is None or value >= expect.min
    return above and (expect.max is None or value <= expect.max)


def _edges(bench: Bench, module: Module, threat: str, task: str) -> Iterator[Check]:
    """An attack keeps budgets at their edges; the judge says so, not the module."""
    if module.manifest.kind != "attack":
        return
    budgets = [dict(edge) for edge in EDGES[threat]]
    if threat == "supply-chain" or (task == "segmentation" and threat != "evasion"):
        budgets = budgets[:1]
    for budget in budgets:
        records = bench.run(matrix_for(module, threat, task, _smoke_variant(module), [budget]))
        own = [r for r in records.values() if _is_own(r, module, _smoke_variant(module))]
        bad = [f"{r.status}: {r.reason}" for r in own if r.status not in FAIR]
        label = own[0].cell.budget_label if own else str(budget)
        yield Check(f"keeps budget {threat}/{task} {label}", not bad, "; ".join(bad))


def _deeper(
    bench: Bench, module: Module, records: Mapping[str, Record], name: str
) -> Iterator[Check]:
    """Same seed same output; equal outputs after a rebuild; the share of zero gradients."""
    own = next(r for r in records.values() if _is_own(r, module, None) and r.status == "ok")
    assert bench.plan is not None
    cell = bench.plan.cells[own.id]
    before = _digests(bench.store, cell.own)
    with tempfile.TemporaryDirectory(prefix="gauntlet-check-") as folder:
        second = Store(Path(folder) / "store", below=bench.store, hidden=cell.own)
        recorder = Recorder(second, Path(folder), bench.executor.name, "cpu")
        bench.scheduler(bench.plan, recorder).run([cell])
        again = _digests(second, cell.own)
    # a stage whose passing artefact was no longer needed did not run again: nothing to compare
    different = sorted(name for name in before.keys() & again.keys() if again[name] != before[name])
    yield Check(f"same seed, same output {name}", not different, ", ".join(different[:3]))
    if module.manifest.kind == "attack":
        return
    yield from _rebuilt(bench, module, own, name)
    if module.manifest.kind in ("defense", "victim") and own.cell.task != "ranking":
        yield from _gradients(bench, module, own, name)


def _digests(store: Store, keys: frozenset[str]) -> dict[str, str]:
    found = {}
    for key in sorted(keys):
        receipt = store.receipt(key)
        for file, value in (receipt or {"files": {}})["files"].items():
            if file not in ("log.txt", "curves.jsonl"):
                found[f"{key[:8]}/{file}"] = value
    return found


def _rebuilt(bench: Bench, module: Module, record: Record, name: str) -> Iterator[Check]:
    """The network rebuilt in a new process answers as it did in the process that made it."""
    assert bench.plan is not None
    network = bench.plan.graph.stages[record.stages["network"]]
    part = "clean" if "clean" in network.inputs else "val"
    recipe = dict(network.recipe) | {"options": {"batch": 32}, "budget": {}}
    source = network.inputs[part]
    key, failure = bench.stage(
        "predict",
        {"weights": Input(network.key, ""), "x": source, "spec": network.inputs["spec"]},
        recipe,
    )
    if failure:
        yield Check(f"rebuild {name}", False, failure)
        return
    probe = np.asarray(load_array(bench.store.part(network.key, "probe") / "outputs.npy"))
    outputs = np.asarray(load_array(bench.store.part(key, "outputs") / "outputs.npy"))[: len(probe)]
    if record.cell.task == "segmentation":
        equal = bool(np.mean(probe.argmax(axis=1) == outputs) > 0.9999)
    else:
        equal = bool(np.allclose(probe, outputs, rtol=1e-4, atol=1e-4))
    detail = "" if equal else "outputs differ after fit → save → rebuild in a new process"
    yield Check(f"rebuild {name}", equal, detail)
    flagged = [f.text for f in record.flags if f.name in ("noop_differs", "different_under_attack")]
    yield Check(f"answers alike {name}", not flagged, "; ".join(flagged))


def _gradients(bench: Bench, module: Module, record: Record, name: str) -> Iterator[Check]:
    """A guard whose gradients vanish must say so: undeclared, it would top every table."""
    assert bench.plan is not None
    after = bench.plan.graph.stages[record.stages["after"]]
    slice_key = record.stages["slice"]
    key, failure = bench.stage(
        "gradients",
        {
            "weights": after.inputs["weights"],
            "spec": after.inputs["spec"],
            "slice_x": Input(slice_key, "x"),
            "slice_y": Input(slice_key, "y"),
        },
        dict(after.recipe),
    )
    if failure:
        yield Check(f"gradients {name}", False, f"{failure}; use gradients.straight_through")
        return
    share = float(load_array(bench.store.part(key, "zero") / "share.npy")[0])
    fine = share < 0.5
    yield Check(
        f"gradients {name}",
        fine,
        ""
        if fine
        else f"{share:.0%} of the inputs have a gradient of exactly zero: "
        "declare gradients: approximate and use gradients.straight_through",
    )
