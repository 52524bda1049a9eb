"""Plan ⟕ records → one tidy row a planned cell; nothing vanishes by failing. The home of pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness import records
from harness.errors import UserError
from harness.judge import METHOD
from harness.plan import Cell, Plan
from harness.threat import CONTROLS, THREATS

INFO = ("benchmark", "matrix", "task", "threat_model", "victim", "defense", "attack",
        "budget_label", "goal", "seed")  # fmt: skip


def build(
    plans: Iterable[Plan], found: list[dict[str, Any]], withdrawn: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Join planned cells with their records.

    A cell's record is the one of its key; failing that, the latest of the same cell id, which is
    then *stale*; failing that, the cell is ``missing``.

    Args:
        plans: every planned benchmark; one that is planned for several executors comes several
            times, and a cell takes the first plan in which it has a record of its key.
        found: records from anywhere.
        withdrawn: cell id → why its record is not among them.
    """
    by_key = records.newest_by_key(found)
    by_id: dict[str, dict[str, Any]] = {}
    for record in sorted(found, key=lambda r: (r["status"] == "ok", r["run"]["finished"])):
        by_id[record["id"]] = record
    cells: dict[str, Cell] = {}
    for plan in plans:
        for cell in plan.cells.values():
            if cell.id not in cells or (cells[cell.id].key not in by_key and cell.key in by_key):
                cells[cell.id] = cell
    reasons = withdrawn or {}
    rows = [
        row(
            cell,
            by_key.get(cell.key) or by_id.get(cell.id),
            cell.key in by_key,
            reasons.get(cell.id, "not run yet"),
        )
        for cell in cells.values()
    ]
    return pd.DataFrame(rows)


def row(
    cell: Cell, record: dict[str, Any] | None, fresh: bool, missing: str = ""
) -> dict[str, Any]:
    """One row of the frame; ``missing`` is the reason where there is no record."""
    info = cell.info
    status, stage, reason = "missing", None, missing
    by: str | None = "harness"
    if record is not None:
        status, stage, reason = record["status"], record["stage"], record["reason"]
        by = record.get("by")
    elif cell.reason is not None:
        status, reason, by = cell.status, cell.reason, cell.by
    result: dict[str, Any] = {
        "key": cell.key,
        "cell_id": cell.id,
        **{name: info[name] for name in INFO},
        "access": THREATS[info["threat_model"]].access,
        "budget": info["budget"],
        "eps": info["budget"].get("eps"),
        "status": status,
        "stage": stage,
        "reason": reason,
        "by": by,
        "stale": record is not None and not (fresh and record["method"] == METHOD),
        "contained": record is not None and record["environment"]["executor"] == "docker",
        "ensemble": bool(cell.members),
        "attack_control": info["attack_module"] in CONTROLS["attack"],
        "defense_control": info["defense_module"] in CONTROLS["defense"],
        "record": record,
    }
    for name, metric in (record["metrics"] if record else {}).items():
        for field, column in (("value", name), ("lo", f"{name}_lo"), ("hi", f"{name}_hi"),
                              ("k", f"{name}_k"), ("n", f"{name}_n")):  # fmt: skip
            if metric.get(field) is not None:
                result[column] = metric[field]
    return result


def load(path: str | Path) -> pd.DataFrame:
    """The tidy table of every record below a folder, for people who prefer pandas.

    Only what was recorded: without a plan, nothing is ``missing`` here.

    Raises:
        UserError: there is no record there, or one is broken.
    """
    found, errors = records.load_all(Path(path))
    if errors:
        raise errors[0]
    if not found:
        raise UserError(
            str(path), "no records", "run a benchmark first, or name its records folder"
        )
    newest = {record["id"]: record for record in records.newest_by_key(found).values()}
    cells = [Cell(r["id"], r["cell"], r["key"], r["stages"], members=tuple(r["members"]))
             for r in newest.values()]  # fmt: skip
    return pd.DataFrame([row(c, newest[c.id], True) for c in cells])
