"""Flags beyond one record: other budgets, other attacks, replications, a module's checks."""

from __future__ import annotations

import statistics as plain
from collections.abc import Iterable, Sequence

from harness.judge.attack_flags import (
    another_loss_does_better,
    not_converged,
    query_beats_whitebox,
    success_falls_with_budget,
)
from harness.judge.flags import Flag
from harness.report.cells import CellRow
from harness.report.evidence import rest_of_budget
from harness.results.records import Record
from harness.results.replications import Replications

_METRIC = "attack_success_rate"


def cross_flags(planned: Sequence[CellRow]) -> dict[str, list[Flag]]:
    """Return cell key → flags, over everything that was measured.

    Most compare figures of one network on one evaluation subset: budgets that differ in size only,
    or in the number of queries only. Seeds are averaged first.
    """
    measured = [
        row
        for row in planned
        if not row.attack_control
        and not row.made_against
        and not row.limits.get("minimal")  # success at any distance says little
        and _success(row) is not None
    ]
    found: dict[str, list[Flag]] = {}
    compared = (_falling, _masked, _unconverged, _outdone)
    for flag, rows in (pair for compare in compared for pair in compare(measured)):
        for row in rows:
            found.setdefault(row.key, []).append(flag)
    for row in planned:
        if row.check_failures:
            found.setdefault(row.key, []).append(_check_failed(row))
        if flags := replication_flags(row.replications):
            found.setdefault(row.key, []).extend(flags)
    return found


def replication_flags(found: Replications | None) -> list[Flag]:
    """Return the flag of a cell whose replications differ without a reason, or nothing."""
    differing = found.unexplained if found else None
    if differing is None:
        return []
    other, agreement = differing.worst
    one_key = other.key == differing.record.key
    made = f"{differing.made}, of one key" if one_key else differing.made
    why = "something in it is not deterministic" if one_key else "it depends on where it is made"
    return [Flag("replications_differ", f"made {made}: {agreement}; {why}")]


def _check_failed(row: CellRow) -> Flag:
    """Return the flag of a cell with a module that fails ``gauntlet check``."""
    parts = []
    for module, names in row.check_failures.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        parts.append(f"module {module} fails the conformance tests: {names[0]}{more}")
    return Flag("check_failed", "; ".join(parts))


def _success(row: CellRow) -> float | None:
    return row.record.metric(_METRIC) if row.record and row.status == "ok" else None


def _mean(rows: Iterable[CellRow]) -> float:
    return plain.fmean(_success(row) or 0.0 for row in rows)


def _falling(measured: Iterable[CellRow]) -> list[tuple[Flag, list[CellRow]]]:
    series: dict[tuple[str, ...], dict[float, list[CellRow]]] = {}
    for row in measured:
        if row.eps is not None:
            names = (row.benchmark, row.matrix, row.victim, row.defense, row.attack)
            sizes = series.setdefault((*names, rest_of_budget(row, "eps")), {})
            sizes.setdefault(row.eps, []).append(row)
    found = []
    for sizes in series.values():
        flag = success_falls_with_budget([(eps, _mean(rows)) for eps, rows in sizes.items()])
        if flag is not None:
            found.append((flag, sizes[max(sizes)]))
    return found


def _masked(measured: Iterable[CellRow]) -> list[tuple[Flag, list[CellRow]]]:
    """Compare each network's best query attack with its best white-box attack."""
    best: dict[tuple[str, ...], dict[str, list[CellRow]]] = {}
    for row in measured:
        stages = row.record.stages if row.record else {}
        if row.access in ("victim", "oracle") and not row.derived and "network" in stages:
            # A guard adds nothing to the network's key, so the defence's label is in the place.
            place = (stages["network"], stages.get("slice", ""), row.defense, row.goal)
            sides = best.setdefault((*place, rest_of_budget(row, "queries", "answers")), {})
            sides.setdefault(row.access, []).append(row)
    found = []
    for sides in best.values():
        if len(sides) == 2:
            query = max(sides["oracle"], key=lambda row: _success(row) or 0.0)
            white = max(_success(row) or 0.0 for row in sides["victim"])
            flag = query_beats_whitebox(query=_success(query) or 0.0, whitebox=white)
            if flag is not None:
                found.append((flag, [query]))
    return found


def _outdone(measured: Iterable[CellRow]) -> list[tuple[Flag, list[CellRow]]]:
    """Compare rows of one attack module that differ in a named choice alone, such as the loss."""
    series: dict[tuple[str, ...], dict[str, list[CellRow]]] = {}
    for row in measured:
        if row.record and not row.derived and _steps(row.record):
            params = row.record.params["attack"].items()
            rest = sorted((name, value) for name, value in params if not isinstance(value, str))
            place = (*_place(row), row.record.cell.attack_module, repr(rest))
            series.setdefault(place, {}).setdefault(row.attack, []).append(row)
    found = []
    for by_attack in series.values():
        best = max(by_attack, key=lambda attack: _mean(by_attack[attack]))
        other = _mean(by_attack[best])
        for rows in by_attack.values():
            flag = another_loss_does_better(success=_mean(rows), other=other, name=best)
            if flag is not None:
                found.append((flag, rows))
    return found


def _steps(record: Record) -> int | None:
    """Return the number of steps that an attack's parameters name."""
    steps = record.params.get("attack", {}).get("steps")
    return steps if isinstance(steps, int) else None


def _place(row: CellRow) -> tuple[str, ...]:
    """Return what cells have in common that differ in attack or seed."""
    names = (row.benchmark, row.matrix, row.victim, row.defense, row.goal)
    return (*names, rest_of_budget(row))


def _unconverged(measured: Iterable[CellRow]) -> list[tuple[Flag, list[CellRow]]]:
    """Compare rows of one attack module of which one has twice the steps of the other."""
    series: dict[tuple[str, ...], dict[int, list[CellRow]]] = {}
    for row in measured:
        if row.record and not row.derived and (steps := _steps(row.record)):
            place = (*_place(row), row.record.cell.attack_module)
            series.setdefault(place, {}).setdefault(steps, []).append(row)
    found = []
    for by_steps in series.values():
        for steps, rows in by_steps.items():
            if 2 * steps in by_steps:
                flag = not_converged(steps=_mean(rows), twice=_mean(by_steps[2 * steps]))
                if flag is not None:
                    found.append((flag, rows))
    return found
