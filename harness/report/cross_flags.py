"""Flags that need more than one record: an attack at another budget, or beside other attacks."""

from __future__ import annotations

import statistics as plain
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.judge.flags import (
    Flag,
    not_converged,
    query_beats_whitebox,
    success_falls_with_budget,
)
from harness.report.cells import Line

_METRIC = "attack_success_rate"


def cross_flags(planned: Sequence[Line]) -> dict[str, list[Flag]]:
    """Cell key → flags, over everything that was measured.

    Compared are figures of one network on one slice: the same budget but for its size, or the same
    size but for the number of queries. Seeds are averaged first.
    """
    measured = [line for line in planned if not line.attack_control and _success(line) is not None]
    found: dict[str, list[Flag]] = {}
    for flag, lines in (*_falling(measured), *_masked(measured), *_unconverged(measured)):
        for line in lines:
            found.setdefault(line.key, []).append(flag)
    return found


def _success(line: Line) -> float | None:
    metric: Mapping[str, Any] = (line.record or {}).get("metrics", {}).get(_METRIC, {})
    return float(metric["value"]) if line.status == "ok" and "value" in metric else None


def _mean(lines: Iterable[Line]) -> float:
    return plain.fmean(_success(line) or 0.0 for line in lines)


def _rest(line: Line, *without: str) -> str:
    """The budget's other fields, as one comparable value."""
    return repr(sorted((k, v) for k, v in line.limits.items() if k not in without))


def _falling(measured: Iterable[Line]) -> list[tuple[Flag, list[Line]]]:
    series: dict[tuple[str, ...], dict[float, list[Line]]] = {}
    for line in measured:
        if line.eps is not None:
            names = (line.benchmark, line.matrix, line.victim, line.defense, line.attack)
            sizes = series.setdefault((*names, _rest(line, "eps")), {})
            sizes.setdefault(line.eps, []).append(line)
    found = []
    for sizes in series.values():
        flag = success_falls_with_budget([(eps, _mean(lines)) for eps, lines in sizes.items()])
        if flag is not None:
            found.append((flag, sizes[max(sizes)]))
    return found


def _masked(measured: Iterable[Line]) -> list[tuple[Flag, list[Line]]]:
    """The best query attack of each network against the best that sees its gradients."""
    best: dict[tuple[str, ...], dict[str, list[Line]]] = {}
    for line in measured:
        stages = (line.record or {}).get("stages", {})
        if line.access in ("victim", "oracle") and not line.derived and "network" in stages:
            # A guard adds nothing to the network's key, so the defence's label is in the place.
            place = (stages["network"], stages.get("slice", ""), line.defense, line.goal)
            sides = best.setdefault((*place, _rest(line, "queries", "answers")), {})
            sides.setdefault(line.access, []).append(line)
    found = []
    for sides in best.values():
        if len(sides) == 2:
            query = max(sides["oracle"], key=lambda line: _success(line) or 0.0)
            white = max(_success(line) or 0.0 for line in sides["victim"])
            flag = query_beats_whitebox(query=_success(query) or 0.0, whitebox=white)
            if flag is not None:
                found.append((flag, [query]))
    return found


def _unconverged(measured: Iterable[Line]) -> list[tuple[Flag, list[Line]]]:
    """Rows of one attack module, one with twice the steps of the other."""
    series: dict[tuple[str, ...], dict[int, list[Line]]] = {}
    for line in measured:
        record = line.record or {}
        steps = record.get("params", {}).get("attack", {}).get("steps")
        if isinstance(steps, int) and not line.derived:
            names = (line.benchmark, line.matrix, line.victim, line.defense, line.goal, _rest(line))
            module = str(record["cell"]["attack_module"])
            series.setdefault((*names, module), {}).setdefault(steps, []).append(line)
    found = []
    for by_steps in series.values():
        for steps, lines in by_steps.items():
            if 2 * steps in by_steps:
                flag = not_converged(steps=_mean(lines), twice=_mean(by_steps[2 * steps]))
                if flag is not None:
                    found.append((flag, lines))
    return found
