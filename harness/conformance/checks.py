"""The conformance tests of a module folder, found by walking: there is no list of modules.

The checks run the module for real, on small bundled data, beside the reference modules of this
checkout; the same stages, the same judge.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from harness.config.catalog import Module
from harness.config.threat import THREATS
from harness.conformance.expectations import check_budget_edges, check_expectation
from harness.conformance.networks import check_networks
from harness.conformance.plays import check_opponents
from harness.conformance.probes import check_answers, check_attack
from harness.conformance.runner import FAIR, CheckResult, SmokeRunner
from harness.conformance.smoke import choose_budget, list_settings, make_matrix, smoke_variant
from harness.executors.base import Executor
from harness.planning.graph import Input
from harness.planning.recipe import THREADS, ModuleRef, NoOptions, StageRecipe
from harness.results.records import Record
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
    played, sound, seen = 0, True, set[Hashable]()
    for threat, task in list_settings(module):
        for variant in (None, *module.manifest.variants):
            setting = Setting(threat, task, variant)
            results, good = check_setting(runner, setting, seen)
            yield from results
            played += good
            sound = sound and all(one.ok for one in results)
        yield from check_budget_edges(runner, threat, task)
    if played or sound:  # of a module that fails everywhere, the reasons stand above
        detail = "" if played else "every variant was skipped: nothing was tested"
        yield CheckResult("plays", played > 0, detail)


class Setting(NamedTuple):
    """Threat model, task and variant in which a module is checked."""

    threat: str
    task: str
    variant: str | None

    @property
    def name(self) -> str:
        """Name in the results: ``evasion/classification/strong``."""
        return f"{self.threat}/{self.task}" + (f"/{self.variant}" if self.variant else "")


def check_setting(
    runner: SmokeRunner, setting: Setting, seen: set[Hashable]
) -> tuple[list[CheckResult], int]:
    """Run the checks of one setting; return their results and the number of good cells.

    A mistake that is found by name explains what else fails in the setting, so nothing else is
    checked there until it is mended.

    Args:
        runner: runs the matrices.
        setting: the setting.
        seen: settings in which mistakes have been looked for; this one is added.
    """
    module, (threat, task, variant) = runner.module, setting
    budget = choose_budget(module, threat)
    records = runner.run(make_matrix(module, threat, task, variant, budget))
    own = [r for r in records.values() if runner.is_own(r, variant)]
    good = [r for r in own if r.status == "ok"]
    failed = [r for r in own if r.status not in FAIR]
    found = find_mistakes(runner, own, setting, seen)
    if not all(one.ok for one in found):
        return [one for one in found if not one.ok], len(good)
    reasons = "; ".join(sorted({r.reason or "" for r in own if r.status != "ok"}))
    results = [CheckResult(f"runs {setting.name}", bool(own) and not failed, reasons), *found]
    if variant == smoke_variant(module) and good:
        results += check_expectation(runner, threat, task, records, variant)
    if variant is None and good:
        results += check_networks(runner, records, setting.name)
        if module.manifest.kind != "attack":
            results += check_opponents(runner, threat, task)
    return results, len(good)


def find_mistakes(
    runner: SmokeRunner, own: Sequence[Record], setting: Setting, seen: set[Hashable]
) -> list[CheckResult]:
    """Look for honest mistakes in a module's network or results, where its code may be another.

    A network is asked once for each task and variant, an attack once for each task, hook and kind
    of access, with its default parameters.
    """
    threat, attack = THREATS[setting.threat], runner.module.manifest.kind == "attack"
    code: Hashable = (setting.task, setting.variant)
    if attack:
        code = (setting.task, threat.at_test, threat.access == "oracle")
    if code in seen or (attack and setting.variant is not None):
        return []
    check = check_attack if attack else check_answers
    found = next((found for r in own if (found := check(runner, r, setting.name))), [])
    seen |= {code} if found else set()
    return found


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
