"""Plays of reference attacks of every kind against a victim or a defence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.config.strict_yaml import Json
from harness.config.threat import THREATS
from harness.conformance.opponents import Opponent, opponents
from harness.conformance.runner import FAIR, KINDS, CheckResult, SmokeRunner
from harness.conformance.smoke import BUDGETS, make_matrix, with_reference
from harness.results.records import Record


def check_opponents(runner: SmokeRunner, threat: str, task: str) -> Iterator[CheckResult]:
    """Check that attacks of every kind play against a victim or a defence.

    A failure that the attack has against the reference modules alone, too, is put down to the
    attack. An attack that this checkout lacks, or that does not apply, is reported as not tried.

    Args:
        runner: runs the matrices.
        threat: threat model of the matrix.
        task: task of the matrix.
    """
    module, name = runner.module, f"{threat}/{task}"
    present = []
    for one in opponents(threat, task):
        if ("attack", one.attack) in runner.catalog.modules:
            present.append(one)
        else:
            what = f"attack {one.attack} is not in this checkout"
            yield CheckResult(f"plays {one.kind} {name}", True, what, tried=False)
    if len(present) == 1 and (module.manifest.kind == "defense" or THREATS[threat].poisons):
        return  # it has played in the smoke matrix
    matrix = make_matrix(module, threat, task, None, BUDGETS[threat])
    for one, records in play(runner, matrix, present):
        own = [record for record in records if runner.is_own(record, None)]
        yield judge_play(runner, one, own, matrix, task)


def play(
    runner: SmokeRunner, matrix: dict[str, Json], present: Sequence[Opponent]
) -> list[tuple[Opponent, list[Record]]]:
    """Run a matrix with other attacks; return the records of each."""
    if not present:
        return []
    labels = {f"opponent-{place}": one for place, one in enumerate(present)}
    entries: list[Json] = [one.entry(label) for label, one in labels.items()]
    records = runner.run(matrix | {"attacks": entries}).values()
    return [(one, [r for r in records if r.cell.attack == label]) for label, one in labels.items()]


def judge_play(
    runner: SmokeRunner,
    opponent: Opponent,
    own: Sequence[Record],
    matrix: dict[str, Json],
    task: str,
) -> CheckResult:
    """Return whether an attack has played, with the side that a failure is put down to.

    Args:
        runner: runs the attack against the reference modules alone, if it has failed.
        opponent: the attack.
        own: its cells with the module under test.
        matrix: the matrix that they are of.
        task: task of the matrix.
    """
    name = f"plays {opponent.kind} {matrix['threat_model']}/{task}"
    bad = [record for record in own if record.status not in FAIR]
    if bad:
        control = play(runner, with_reference(matrix, task), [opponent])[0][1]
        fault = next((r for r in control if r.status not in FAIR), None)
        if fault is not None:
            where = f"reference attack {opponent.attack} {matrix['threat_model']}/{task}"
            what = f"not this module, it fails on {fault.cell.victim} alone: {fault.reason}"
            return CheckResult(where, False, what)
        manifest = runner.module.manifest
        who = f"{KINDS[manifest.kind]} {manifest.name} under attack {opponent.attack}"
        return CheckResult(name, False, f"{who}: {bad[0].status}: {bad[0].reason}")
    ruled_out = [record for record in own if record.status == "not_applicable"]
    if ruled_out:
        return CheckResult(name, True, ruled_out[0].reason or "", tried=False)
    return CheckResult(name, True)
