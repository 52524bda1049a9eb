"""Check that an attack aims: with a goal it makes more inputs the goal than it does without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.common.files import load_array
from harness.config.strict_yaml import Json
from harness.config.threat import CONTROLS, THREATS
from harness.conformance.runner import CheckResult, SmokeRunner
from harness.results.records import Record

GOAL: Json = {"targeted": "next"}
DEVIATIONS = 2.0
"""How far the inputs that come closer must outnumber the others, in standard deviations of a fair
coin: a sign test.

On digits within L∞ 32/255, of 200 inputs: FGSM makes 21 more their goal and 0 fewer, APGD 20 to 37
and at most 1, PGD 43 to 46 and 0, Square 26 and 0; FGSM with the wrong sign 0 and 15, without its
goal 0 and 0. Of 40 scenes FGSM brings 32 closer and 8 away, with the wrong sign 2 and 37.
"""
FIX = "aim at goal, or say requires: [{goals: [untargeted]}] in the manifest"


def plays_goals(runner: SmokeRunner, threat: str) -> bool:
    """Return whether the module is an attack that may be asked to aim under a threat model.

    Controls do not attack. In transfer the smoke data of attacker and victim have other classes.
    """
    manifest = runner.module.manifest
    attack = manifest.kind == "attack" and manifest.name not in CONTROLS["attack"]
    rules = THREATS[threat]
    return attack and rules.at_test == "perturb" and rules.access in ("victim", "oracle")


def with_radius(budget: Json) -> Json:
    """Return a budget that may have a goal beside it: the nearest wrong input gets a radius.

    Answers to the attack's inputs are read whatever their distance, so that any radius will do.
    """
    assert isinstance(budget, dict)
    rest = {name: value for name, value in budget.items() if name != "minimal"}
    return rest | {"eps": 1.0} if "minimal" in budget else budget


def check_aim(
    runner: SmokeRunner,
    matrix: Mapping[str, Json],
    own: Sequence[Record],
    variant: str | None,
    name: str,
) -> Iterator[CheckResult]:
    """Check one variant of an attack.

    Errors fall on some classes more often than on others, so the same attack without a goal is the
    measure: one that ignores its goal reaches it as often, one with the wrong sign less often.

    Args:
        runner: has run the matrix without a goal.
        matrix: the module's smoke matrix.
        own: its records without a goal, with a result.
        variant: the module's variant.
        name: threat model, task and variant, for the results.
    """
    check = f"aims {name}"
    assert isinstance(matrix["budgets"], list)
    budgets: Json = [with_radius(budget) for budget in matrix["budgets"]]
    records = runner.run({**matrix, "goal": GOAL, "budgets": budgets}).values()
    aimed = [record for record in records if runner.is_own(record, variant)]
    bad = next((record for record in aimed if record.status != "ok"), None)
    if bad is not None:
        said = bad.status == "not_applicable" and bad.by == "rule"
        reason = bad.reason or ""
        yield CheckResult(check, said, reason if said else f"with a goal: {reason}; {FIX}")
        return
    with_goal, without = (_at_goal(runner, one, aimed[0]) for one in (aimed[0], own[0]))
    more, less = with_goal > without, without > with_goal
    found = f"{int(more.sum())} inputs come closer to their goal, {int(less.sum())} move away"
    gain, moved = int(more.sum()) - int(less.sum()), int(more.sum()) + int(less.sum())
    ok = gain > DEVIATIONS * moved**0.5
    yield CheckResult(check, ok, found if ok else f"{found}, compared with no goal; {FIX}")


def _at_goal(runner: SmokeRunner, record: Record, aimed: Record) -> NDArray[np.float64]:
    """Return the share of each input's answers that are its goal, ``[N]``; 0 or 1 for a class.

    Args:
        runner: holds the artefacts.
        record: the cell whose answers are read.
        aimed: the cell whose goals are read.
    """
    store = runner.store
    y = np.array(load_array(store.part(aimed.stages["slice"], "y") / "y.npy"))
    goal = np.array(load_array(store.part(aimed.stages["goal"], "goal") / "goal.npy"))
    after = np.array(load_array(store.part(record.stages["after"], "outputs") / "outputs.npy"))
    found = after.argmax(axis=1) if aimed.cell.task == "classification" else after
    hit = (found == goal) & (y != goal)
    share: NDArray[np.float64] = hit.reshape(len(hit), -1).mean(axis=1)
    return share
