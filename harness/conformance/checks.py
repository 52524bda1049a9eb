"""The conformance tests of a module folder, found by walking: there is no list of modules.

The checks run the module for real, on small bundled data, beside the reference modules of this
checkout; the same stages, the same judge.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from harness.config.catalog import Module
from harness.config.threat import THREATS
from harness.conformance.aim import check_aim, plays_goals
from harness.conformance.existing_weights import check_weights
from harness.conformance.expectations import check_budget_edges, check_expectation
from harness.conformance.networks import check_networks
from harness.conformance.plays import check_opponents
from harness.conformance.probes import check_answers, check_attack
from harness.conformance.runner import FAIR, CheckResult, SmokeRunner
from harness.conformance.smoke import (
    choose_budget,
    is_large,
    list_settings,
    make_matrix,
    smoke_form,
    smoke_variant,
    with_reference,
)
from harness.executors.base import Executor
from harness.planning.graph import Input
from harness.planning.options import NoOptions
from harness.planning.recipe import THREADS, ModuleRef, StageRecipe
from harness.results.records import Record
from harness.runtime.worker import probe_names
from harness.storage.store import Store
from harness.workspace import Workspace

FORM_CHECKS = ("network can be asked", probe_names.FORM)
"""Checks that fail where a network takes other inputs than its manifest says."""
FORM_FIX = (
    "if it takes others, say so in the manifest, for example "
    "requires: [{channels: [1], side: [28], classes: [10]}]"
)


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
    yield from SettingChecks(runner).run()


class Setting(NamedTuple):
    """Threat model, task and variant in which a module is checked."""

    threat: str
    task: str
    variant: str | None

    @property
    def name(self) -> str:
        """Name in the results: ``evasion/classification/strong``."""
        return f"{self.threat}/{self.task}" + (f"/{self.variant}" if self.variant else "")


class SettingChecks:
    """Checks of a module in all of its settings.

    A mistake that is found by name, or that leaves no cell with a result, explains what else
    fails: nothing else is checked in its task until it is mended.

    Args:
        runner: runs the matrices.
    """

    def __init__(self, runner: SmokeRunner) -> None:
        self.runner, self.module = runner, runner.module
        self._played: set[tuple[str, str | None]] = set()
        self._skipped: dict[str, None] = {}
        self._asked: set[Hashable] = set()
        self._mistaken: set[str] = set()
        self._aimed: set[tuple[str, str | None]] = set()

    def run(self) -> Iterator[CheckResult]:
        """Yield the results of every setting."""
        played: set[str] = set()
        for threat, task in list_settings(self.module):
            again = task in played
            played.add(task)
            for variant in (None, *self.module.manifest.variants):
                setting = Setting(threat, task, variant)
                if again and (what := self._spared(setting)):
                    yield CheckResult(f"runs {setting.name}", True, what, tried=False)
                elif task not in self._mistaken:
                    yield from self._check(setting)
            if task not in self._mistaken:
                yield from check_budget_edges(self.runner, threat, task)
        for task in self.module.manifest.tasks:
            if task not in self._mistaken:
                yield from check_largest(self.runner, task)
        if not self._mistaken:
            yield from check_weights(self.runner)
        if self._played or not self._mistaken:
            skipped = "; ".join(["every variant was skipped: nothing was tested", *self._skipped])
            said = "at least one variant was tested" if self._played else skipped
            yield CheckResult("plays", bool(self._played), said)

    def _spared(self, setting: Setting) -> str:
        """Return why a setting is left out that played under another threat model, or nothing.

        Otherwise forty variants under three threat models would be 120 trainings.
        """
        if is_large(smoke_form(self.module, setting.task, setting.variant)):
            return "pictures of this size are tried under one threat model alone"
        if setting.variant and setting[1:] in self._played:
            return "variants are tried under one threat model alone"
        return ""

    def _check(self, setting: Setting) -> Iterator[CheckResult]:
        runner, (threat, task, variant) = self.runner, setting
        budget = choose_budget(self.module, threat)
        matrix = make_matrix(self.module, threat, task, variant, budget)
        records = runner.run(matrix)
        own = [r for r in records.values() if runner.is_own(r, variant)]
        good = [r for r in own if r.status == "ok"]
        self._played |= {(task, variant)} if good else set()
        found = self._find_mistakes(own, setting)
        if not all(one.ok for one in found):
            self._mistaken.add(task)
            yield from (self._with_form(one, setting) for one in found if not one.ok)
            return
        reasons = "; ".join(sorted({runner.reason_of(r) for r in own if r.status != "ok"}))
        fair = bool(own) and all(r.status in FAIR for r in own)
        self._skipped |= {} if good else {f"{setting.name}: {reasons}": None}
        yield CheckResult(f"runs {setting.name}", fair, reasons)
        if not fair and not good and any(r.by == self.module.manifest.kind for r in own):
            self._mistaken.add(task)
            return
        yield from found
        if variant == smoke_variant(self.module) and good:
            yield from check_expectation(runner, threat, task, records, variant)
        if variant is None and good:
            yield from check_networks(runner, records, setting.name)
            if self.module.manifest.kind != "attack":
                yield from check_opponents(runner, threat, task)
        once = (task if variant is None else "", variant)  # variants in the first of their tasks
        if good and plays_goals(runner, threat) and once not in self._aimed:
            self._aimed.add(once)
            yield from check_aim(runner, matrix, good, variant, setting.name)

    def _with_form(self, result: CheckResult, setting: Setting) -> CheckResult:
        """Return a victim's failure with the form of the inputs, if that may be why."""
        named = result.name.removesuffix(f" {setting.name}")
        if self.module.manifest.kind != "victim" or named not in FORM_CHECKS:
            return result
        form = smoke_form(self.module, setting.task, setting.variant)
        asked = f"asked with {form.size} pictures and {form.outputs} classes"
        return replace(result, detail=f"{result.detail}; {asked}; {FORM_FIX}")

    def _find_mistakes(self, own: Sequence[Record], setting: Setting) -> list[CheckResult]:
        """Look for honest mistakes in a network or in an attack's results, once for the same code.

        A network is asked once for each task and variant, an attack once for each task, hook and
        kind of access, with its default parameters.
        """
        threat, attack = THREATS[setting.threat], self.module.manifest.kind == "attack"
        code: Hashable = (setting.task, setting.variant)
        if attack:
            code = (setting.task, threat.at_test, threat.access == "oracle")
        if code in self._asked or (attack and setting.variant is not None):
            return []
        check = check_attack if attack else check_answers
        found = next((found for r in own if (found := check(self.runner, r, setting.name))), [])
        self._asked |= {code} if found else set()
        return found


def check_largest(runner: SmokeRunner, task: str) -> Iterator[CheckResult]:
    """Check that a victim plays once at the largest side that its manifest lists, too."""
    module, tried = runner.module, set()
    for variant in (None, *module.manifest.variants):
        form = smoke_form(module, task, variant, largest=True)
        settings = [threat for threat, one in list_settings(module) if one == task]
        if form == smoke_form(module, task, variant) or form in tried or not settings:
            continue
        tried.add(form)
        budget = choose_budget(module, settings[0])
        records = runner.run(
            make_matrix(module, settings[0], task, variant, budget, largest=True)
        ).values()
        own = [record for record in records if runner.is_own(record, variant)]
        bad = sorted({runner.reason_of(one) for one in own if one.status not in FAIR})
        yield CheckResult(f"runs at {form.size} {settings[0]}/{task}", not bad, "; ".join(bad))


def check_hooks(runner: SmokeRunner) -> CheckResult:
    """Check that the module loads, and that its hooks are the declared ones."""
    module = runner.module
    threat, task = next(iter(list_settings(module)), ("evasion", module.manifest.tasks[0]))
    matrix = make_matrix(module, threat, task, None, choose_budget(module, threat))
    runner.run(matrix)
    if not runner.plan.graph.stages:  # its manifest rules out every cell
        runner.run(with_reference(matrix, task))
    data = next(s for s in runner.plan.graph.stages.values() if s.kind == "data")
    ref = ModuleRef(module.ref, module.digest, module.manifest.resolve(None, {}))
    recipe = StageRecipe({module.manifest.kind: ref}, 0, THREADS, {}, NoOptions())
    _, failure = runner.run_stage("inspect", {"spec": Input(data.key, "")}, recipe)
    return CheckResult("hooks declared = implemented, signatures", not failure, failure)
