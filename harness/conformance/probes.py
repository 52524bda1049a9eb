"""Checks for honest mistakes: a network or an attack is asked in ways that a cell may not show.

A stage asks (``probe_network``, ``probe_attack``) and writes one line for each named check. Module
code runs in that stage, so a hostile module can pass; the border of every run does not rely on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.common.files import read_json
from harness.common.text import one_line
from harness.conformance.runner import KINDS, CheckResult, SmokeRunner, answers
from harness.planning.graph import Input
from harness.planning.options import AttackOptions, NoOptions
from harness.planning.recipe import StageRecipe
from harness.results.records import Record
from harness.runtime.worker import probe_names


def check_answers(runner: SmokeRunner, record: Record, name: str) -> list[CheckResult]:
    """Check the answers of a victim's or defence's network, also where its cell has failed.

    A network whose training broke the contract is asked untrained: most mistakes show there, too.
    What the undefended reference victim does, too, is not put down to a defence.

    Args:
        runner: has run the module's smoke matrix.
        record: of a cell of the module.
        name: threat model and task, for the results.

    Returns:
        A result for each name of ``probe_names.NETWORK``; none where there is no network.
    """
    if not has_network(runner, record):
        return []
    found, failure = _ask_network(runner, record)
    shared: Mapping[str, str] = {}
    if runner.module.manifest.kind == "defense" and (failure or any(found.values())):
        shared, its_failure = _ask_network(runner, _undefended(runner, record))
        if its_failure:
            return [_of_reference(record, "network can be asked", its_failure)]
    if failure:
        return [CheckResult(f"network can be asked {name}", False, _named(runner, failure))]
    random = runner.module.manifest.random
    checked = _checked(runner, probe_names.NETWORK, random=random)
    both = [check for check in checked if found[check] and shared.get(check)]
    results = [
        _result(runner, check, "" if check in both else found[check], name) for check in checked
    ]
    return results + [_of_reference(record, check, shared[check]) for check in both]


def check_attack(runner: SmokeRunner, record: Record, name: str) -> list[CheckResult]:
    """Check the results of an attack's ``perturb`` or ``trigger``, also where its cell has failed.

    Args:
        runner: has run the module's smoke matrix.
        record: of a cell of the module.
        name: threat model and task, for the results.

    Returns:
        A result for each name of ``probe_names.ATTACK``; none where the attack has no such hook or
        it cannot be called at all.
    """
    stage = runner.plan.graph.stages.get(record.stages.get("attack", ""))
    if stage is None or not all(runner.is_stored(key) for key in stage.reads()):
        return []
    recipe = stage.recipe
    assert isinstance(recipe, StageRecipe)
    assert isinstance(recipe.options, AttackOptions)
    # the stage makes its own model of the network: no process beside it answers
    options = replace(recipe.options, access="none", least_likely=False)
    found, failure = _findings(
        runner, "probe_attack", stage.inputs, replace(recipe, options=options), probe_names.ATTACK
    )
    if failure:  # where the cell has failed, too, its record says who did it
        failed = CheckResult(f"hook can be called {name}", False, _named(runner, failure))
        return [failed] if record.status == "ok" else []
    # the numbers that perturb draws are a row's own (ctx.draw), those of a trigger a batch's
    draws = runner.module.manifest.random and recipe.options.hook == "trigger"
    checked = _checked(runner, probe_names.ATTACK, random=draws)
    return [_result(runner, check, found[check], name) for check in checked]


def has_network(runner: SmokeRunner, record: Record) -> bool:
    """Return whether a cell's network was trained, or its training broke the contract."""
    return "after" in record.stages and record.status not in ("not_applicable", "avoided")


def _checked(runner: SmokeRunner, names: tuple[str, ...], *, random: bool) -> list[str]:
    """Return the names that hold for the module: equal answers not where it draws."""
    exempt = set(probe_names.RANDOM_EXEMPT) if random else set()
    exempt |= {probe_names.BATCH} if runner.module.manifest.batch_dependent else set()
    return [name for name in names if name not in exempt]


def _result(runner: SmokeRunner, check: str, text: str, name: str) -> CheckResult:
    return CheckResult(f"{check} {name}", not text, _named(runner, text) if text else "")


def _named(runner: SmokeRunner, text: str) -> str:
    """Return what was found with the side that did it."""
    manifest = runner.module.manifest
    return f"{KINDS[manifest.kind]} {manifest.name}: {text}"


def _ask_network(runner: SmokeRunner, record: Record) -> tuple[dict[str, str], str]:
    after = runner.plan.graph.stages[answers(record)]
    assert isinstance(after.recipe, StageRecipe)
    inputs = {
        "spec": after.inputs["spec"],
        "slice_x": Input(record.stages["slice"], "x"),
    }
    if runner.is_stored(record.stages["network"]):
        inputs["weights"] = after.inputs["weights"]
    recipe = after.recipe.with_options(NoOptions())
    return _findings(runner, "probe_network", inputs, recipe, probe_names.NETWORK)


def _undefended(runner: SmokeRunner, record: Record) -> Record:
    """Return the record of the same cell without the defence."""
    wanted = ("none", record.cell.attack)
    found = runner.records.values()
    return next(one for one in found if (one.cell.defense, one.cell.attack) == wanted)


def _of_reference(record: Record, check: str, text: str) -> CheckResult:
    """Return a mistake that is the reference victim's own."""
    name = f"reference victim {record.cell.victim}: {check}"
    return CheckResult(name, False, f"not this module: {text}")


def _findings(
    runner: SmokeRunner,
    kind: str,
    inputs: Mapping[str, Input],
    recipe: StageRecipe,
    names: tuple[str, ...],
) -> tuple[dict[str, str], str]:
    """Return name → what a stage found, or why it failed."""
    key, failure = runner.run_stage(kind, dict(inputs), recipe)
    if failure:
        return {}, failure
    path = runner.store.part(key, "findings") / probe_names.FINDINGS
    try:
        found = read_json(path)
        read = {name: one_line(found[name]) for name in names}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}, f"the stage {kind} left no readable {probe_names.FINDINGS}"
    return read, ""
