"""The conformance tests of a module folder, found by walking: there is no list of modules.

The checks run the module for real, on small bundled data, beside the reference modules of this
checkout; the same stages, the same judge.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.config.catalog import Module
from harness.conformance.expectations import check_budget_edges, check_expectation
from harness.conformance.networks import check_networks
from harness.conformance.runner import FAIR, CheckResult, SmokeRunner
from harness.conformance.smoke import choose_budget, list_settings, make_matrix, smoke_variant
from harness.executors.base import Executor
from harness.planning.graph import Input
from harness.planning.recipe import THREADS, ModuleRef, NoOptions, StageRecipe
from harness.storage.store import Store
from harness.workspace import Workspace


def run_checks(
    workspace: Workspace, module: Module, executor: Executor, store: Store
) -> Iterator[CheckResult]:
    """Run every conformance check of a module, in order, and yield each result.

    Args:
        workspace: the checkout with the reference modules.
        module: the folder under test.
        executor: where stages run.
        store: where artefacts go.
    """
    runner = SmokeRunner(workspace, module, executor, store)
    yield check_hooks(runner)
    played = 0
    for threat, task in list_settings(module):
        budget = choose_budget(module, threat)
        for variant in (None, *module.manifest.variants):
            name = f"{threat}/{task}" + (f"/{variant}" if variant else "")
            records = runner.run(make_matrix(module, threat, task, variant, budget))
            own = [r for r in records.values() if runner.is_own(r, variant)]
            statuses = {r.status for r in own}
            reasons = "; ".join(sorted({r.reason or "" for r in own if r.status != "ok"}))
            yield CheckResult(f"runs {name}", bool(own) and statuses <= set(FAIR), reasons)
            good = [r for r in own if r.status == "ok"]
            played += len(good)
            if variant == smoke_variant(module) and good:
                yield from check_expectation(runner, threat, task, records, variant)
            if variant is None and good:
                yield from check_networks(runner, records, name)
        yield from check_budget_edges(runner, threat, task)
    detail = "" if played else "every variant was skipped: nothing was tested"
    yield CheckResult("plays", played > 0, detail)


def check_hooks(runner: SmokeRunner) -> CheckResult:
    """Check that the module loads, and that its hooks are the declared ones."""
    module = runner.module
    threat, task = next(iter(list_settings(module)), ("evasion", module.manifest.tasks[0]))
    runner.run(make_matrix(module, threat, task, None, choose_budget(module, threat)))
    data = next(s for s in runner.plan.graph.stages.values() if s.kind == "data")
    ref = ModuleRef(module.ref, module.digest, module.manifest.resolve(None, {}))
    recipe = StageRecipe({module.manifest.kind: ref}, 0, THREADS, {}, NoOptions())
    _, failure = runner.run_stage("inspect", {"spec": Input(data.key, "")}, recipe)
    return CheckResult("hooks declared = implemented, signatures", not failure, failure)
