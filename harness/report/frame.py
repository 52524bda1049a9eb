"""The frame: one row of a pandas table for each planned cell, joined with its record."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness.common.errors import UserError
from harness.config.threat import CONTROLS, THREATS
from harness.judge import METHOD
from harness.planning.cell import CellInfo
from harness.planning.plan import Cell, Plan
from harness.report.proven import contradiction
from harness.report.released import released_weights
from harness.report.selection import group_by_id, newest_by_id, plans, select
from harness.results import record_tree
from harness.results.checks import Checks, RecordedCheck
from harness.results.records import Record
from harness.results.replications import Replications, replications
from harness.workspace import Workspace

WHERE = "name a checkout, a folder of records such as reports/records, or a record's file"

INFO = ("benchmark", "matrix", "task", "threat_model", "victim", "defense", "attack",
        "budget_label", "goal", "seed", "made_against")  # fmt: skip


def build(
    planned: Iterable[Plan],
    found: Sequence[Record],
    withdrawn: Mapping[str, str] | None = None,
    checks: Checks | None = None,
) -> pd.DataFrame:
    """Join planned cells with their records.

    ``harness.report.selection.select`` decides which record counts for a cell, and whether it is
    stale; a cell without any is ``missing``.

    Args:
        planned: every planned benchmark; one that is planned for several executors comes several
            times.
        found: records from anywhere.
        withdrawn: cell id → why its record is not among them.
        checks: results of ``gauntlet check`` on this machine, which may be newer than records.
    """
    reasons, by_id, planned = withdrawn or {}, group_by_id(found), list(planned)
    today = {cell.key for plan in planned for cell in plan.cells.values()}
    rows = [
        row(
            one.cell,
            one.record,
            one.plan,
            stale=one.stale,
            withdrawn=reasons.get(name, ""),
            checks=checks,
            replicated=replications(one.record, by_id.get(name, ()), today),
        )
        for name, one in select(planned, found).items()
    ]
    return pd.DataFrame(rows)


def row(
    cell: Cell,
    record: Record | None,
    plan: Plan | None = None,
    *,
    stale: bool,
    withdrawn: str = "",
    checks: Checks | None = None,
    replicated: Replications | None = None,
) -> dict[str, Any]:
    """Return one row of the frame.

    Args:
        cell: the planned cell.
        record: the record that counts for it, if any.
        plan: its plan, if any.
        stale: whether the record is stale.
        withdrawn: why its record is not among those found, if it was withdrawn.
        checks: results of ``gauntlet check`` on this machine.
        replicated: the record's replications, if any.
    """
    info = cell.info
    status: str = "missing"
    by: str | None = "harness"
    stage: str | None = None
    reason: str | None = withdrawn or "not run yet"
    if record is not None:
        status, stage, reason = record.status, record.stage, record.reason
        by = record.by
    elif cell.reason is not None:
        status, reason, by = cell.status, cell.reason, cell.by
    weights = None if info.weights is None else released_weights(info.weights, plan)
    if weights and info.defense_module not in CONTROLS["defense"]:
        weights = replace(weights, proven=())  # nothing is proven of a network behind a guard
    bounds = weights.proven if weights else ()
    if record and status == "ok" and (both := contradiction(bounds, info.budget, record)):
        status, reason, by = "contradicts_proof", both, "rule"
    access = THREATS[info.threat_model].access
    approximate = plan is not None and info.defense_module in plan.approximate
    result: dict[str, Any] = {
        "key": cell.key,
        "cell_id": cell.id,
        **{name: getattr(info, name) for name in INFO},
        "access": access,
        "budget": info.budget,
        "eps": info.budget.get("eps"),
        "status": status,
        "stage": stage,
        "reason": reason,
        "by": by,
        "stale": stale,
        "withdrawn": bool(withdrawn),
        "contained": record is not None and record.environment.executor == "docker",
        "ensemble": bool(cell.members),
        "attack_control": info.attack_module in CONTROLS["attack"],
        "defense_control": info.undefended,
        "weights": weights,
        # an attacker without the defended network uses no gradient of the defence
        "approximate": approximate and access == "victim",
        "thin": plan.thin.get(info.matrix, ()) if plan else (),
        "shared": plan.shared.get(info.matrix, "") if plan else "",
        "checks": {} if record is None else module_checks(record, checks),
        "record": record,
        "replications": replicated,
    }
    for name, metric in (record.metrics if record else {}).items():
        columns = {
            name: metric.value,
            f"{name}_lo": metric.lo,
            f"{name}_hi": metric.hi,
            f"{name}_k": metric.k,
            f"{name}_n": metric.n,
        }
        result |= {column: value for column, value in columns.items() if value is not None}
    return result


def module_checks(record: Record, checks: Checks | None) -> dict[str, RecordedCheck]:
    """Return module → whether it passed ``gauntlet check``, of the modules that a record is about.

    A result of this machine goes first: the module may have been checked after its run.
    """
    now = {} if checks is None else checks.of_all(record.modules)
    known = {module: check for module, check in now.items() if check.state != "unchecked"}
    return {module: known.get(module, record.check(module)) for module in record.modules}


def load(path: str | Path) -> pd.DataFrame:
    """Return records as the tidy table that the report is made from.

    ``frame.attrs["source"]`` lists the folders or the file that were read, ``attrs["ignored"]`` the
    records that are broken; each of those is a warning, too.

    Args:
        path: a checkout gives the report's own table: every planned cell, from local and published
            records, with those that are missing or stale. A folder of records
            (``.gauntlet/records``, ``reports/records``), one benchmark's folder in it, or a single
            record gives what was recorded: the latest of each cell, and without a plan nothing is
            missing, stale, thin or of approximate gradient.

    Raises:
        UserError: there is no readable record.
    """
    place = Path(path).resolve()
    workspace = Workspace.at(place)
    roots = [place]
    if workspace is not None:
        roots = [workspace.local_records, workspace.published_records]
    elif (place / "records").is_dir():  # .gauntlet, reports
        roots = [place / "records"]
    found, broken = record_tree.load_all(*roots)
    if not found:
        raise nothing(place, roots, broken)
    for error in broken:
        warnings.warn(f"ignored: {error}", stacklevel=2)
    if workspace is not None:
        planned = plans(workspace, workspace.benchmarks(), found)
        checks = Checks(workspace.checks)
        rows = build(planned, found, record_tree.withdrawals(*roots), checks)
    else:
        by_id = group_by_id(found)
        rows = pd.DataFrame(
            [
                row(
                    recorded_cell(one),
                    one,
                    stale=one.method != METHOD,
                    replicated=replications(one, by_id[one.id]),
                )
                for one in newest_by_id(found).values()
            ]
        )
    rows.attrs["source"] = [str(root) for root in roots if root.exists()]
    rows.attrs["ignored"] = [str(error) for error in broken]
    return rows


def recorded_cell(record: Record) -> Cell:
    """Return the cell of a record as it was planned then."""
    info, members = CellInfo.from_json(record.cell.model_dump()), tuple(record.members)
    return Cell(record.id, info, record.key, record.stages, members=members)


def nothing(place: Path, roots: list[Path], broken: list[UserError]) -> UserError:
    """Return the error for a place without readable records."""
    if not place.exists():
        return UserError(str(place), "no records: there is no such file or folder", WHERE)
    if place.is_file():
        withdrawn = UserError(str(place), "the record is withdrawn", WHERE)
        return broken[0] if broken else withdrawn
    looked = " and ".join(str(root) for root in roots)
    if broken:
        what = f"no readable record among {len(broken)} files in {looked}; {broken[0].where}"
        return UserError(str(place), f"{what}: {broken[0].what}", broken[0].fix)
    what = "no records" if [place] == roots else f"no records in {looked}"
    return UserError(str(place), what, f"gauntlet run a benchmark first, or {WHERE}")
