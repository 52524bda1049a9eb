"""Rows of the frame as typed values, for leaderboard and site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from harness.report.released import ReleasedWeights
from harness.results.checks import RecordedCheck
from harness.results.records import Metric, Record
from harness.results.replications import Replications

__all__ = ["STATUSES", "CellRow", "Metric", "Record", "cell_rows", "explained"]


@dataclass(frozen=True)
class Status:
    """Texts of one status.

    Attributes:
        word: text of a cell.
        meaning: one sentence for the legend.
        cannot: whether a result is impossible, as opposed to missing.
    """

    word: str
    meaning: str
    cannot: bool = False


STATUSES: dict[str, Status] = {
    "ok": Status("ok", "has a result"),
    "not_applicable": Status(
        "n/a",
        "excluded by the plan, or declined by the victim or the attack; does not count",
        cannot=True,
    ),
    "avoided": Status(
        "avoided",
        "made impossible by the defence itself; the defence is not ranked",
        cannot=True,
    ),
    "module_error": Status("error", "a module raised an exception"),
    "contract_violation": Status("contract", "a module violated its contract"),
    "budget_violation": Status("over budget", "the attack changed more than the budget allows"),
    "contradicts_proof": Status(
        "contradicts a proof",
        "left fewer examples right than are proven to stay right, or changed examples within their "
        "certified radius: one of both sides is wrong, so that the figure is no result",
    ),
    "timeout": Status("timeout", "stopped at its time limit"),
    "out_of_memory": Status("no memory", "stopped at its memory limit"),
    "blocked": Status("blocked", "a stage that the cell depends on has failed"),
    "infra_error": Status("infra", "the harness or the machine failed, not a module"),
    "missing": Status(
        "missing", "planned, but not run yet, or its data set or a file is not available"
    ),
}
"""Status → texts, for pages, CSV and legend."""

BLAMED = {
    ("avoided", "defense"): "made impossible by the defence",
    ("not_applicable", "victim"): "declined by the victim",
    ("not_applicable", "attack"): "declined by the attack",
}
"""(status, role) → prefix of the reason, where the reason alone does not name the role."""
FAILED = {"victim": "in the victim", "defense": "in the defence", "attack": "in the attack"}
"""Role → prefix of the reason, for every other status; rules and the harness need none."""


def explained(status: str, by: str | None, reason: str | None) -> str | None:
    """Return the reason of a status with the role that caused it.

    >>> explained("avoided", "defense", "needs pictures")
    'made impossible by the defence: needs pictures'
    """
    before = BLAMED.get((status, by or "")) or FAILED.get(by or "")
    # only an attack can exceed a budget; the reason of a blocked cell names stage and module
    if reason is None or before is None or status in ("ok", "budget_violation", "blocked"):
        return reason
    return f"{before}: {reason}"


@dataclass(frozen=True, slots=True)
class CellRow:
    """One planned cell with its record.

    Attributes:
        key: the cell's key.
        cell_id: the cell's id.
        benchmark: name of the benchmark.
        matrix: name of the matrix.
        task: classification, ranking or segmentation.
        threat_model: name of the threat model.
        access: the attacker's access to the victim in the threat model.
        victim: label of the victim.
        defense: label of the defence.
        attack: label of the attack.
        budget: label of the budget.
        eps: the budget's radius, if it has one.
        goal: goal of the attack.
        seed: seed of the cell.
        made_against: label of the defence that borrowed inputs were made against, else ``None``.
        status: a key of ``STATUSES``.
        stage: kind of the stage that failed.
        reason: one sentence, unless the status is ``ok``.
        by: role that caused the status, or ``None`` where it is ok or nothing was recorded.
        stale: whether the record's key differs from today's.
        withdrawn: whether a record of the cell was withdrawn.
        contained: whether the record was made in containers.
        defense_control: whether the defence is a control.
        attack_control: whether the attack is a control.
        derived: whether the cell is an ensemble, judged from its members.
        approximate: whether the attacker meets an approximate gradient of the defence.
        thin: kinds of attacks that the matrix lacks.
        shared: what of its data is in two splits, as a sentence; or empty.
        limits: fields of the budget.
        checks: module → whether it passed ``gauntlet check``, of the record's modules.
        record: the record that counts, if any.
        replications: the other records of the same question, if any.
        weights: the released network that the row is, if it is one.
        refuted: whether a cell of the same defence, in its matrix and under any budget, contradicts
            a proof, so that its certificates count for nothing.
    """

    key: str
    cell_id: str
    benchmark: str
    matrix: str
    task: str
    threat_model: str
    access: str
    victim: str
    defense: str
    attack: str
    budget: str
    eps: float | None
    goal: str
    seed: int
    made_against: str | None
    status: str
    stage: str | None
    reason: str | None
    by: str | None
    stale: bool
    withdrawn: bool
    contained: bool
    defense_control: bool
    attack_control: bool
    derived: bool
    approximate: bool
    thin: tuple[str, ...]
    shared: str
    limits: Mapping[str, Any]
    checks: Mapping[str, RecordedCheck]
    record: Record | None
    replications: Replications | None = None
    weights: ReleasedWeights | None = None
    refuted: bool = False

    @property
    def word(self) -> str:
        """Text of the status."""
        return STATUSES[self.status].word

    @property
    def why(self) -> str | None:
        """Reason, with the role that caused the status."""
        return explained(self.status, self.by, self.reason)

    @property
    def check_state(self) -> str:
        """State of the module that fares worst: ``failed``, ``unchecked``, ``passed`` or empty."""
        states = {check.state for check in self.checks.values()}
        return next((state for state in ("failed", "unchecked", "passed") if state in states), "")

    @property
    def check_failures(self) -> dict[str, list[str]]:
        """Module → names of the checks that it fails."""
        return {name: check.failures for name, check in self.checks.items() if check.failures}

    @property
    def self_reported(self) -> bool:
        """Whether modules ran without isolation; an ``n/a`` of the plan runs no module."""
        planned = self.status == "not_applicable" and self.stage is None
        return self.record is not None and not self.contained and not planned


def cell_rows(frame: pd.DataFrame) -> list[CellRow]:
    """Return the rows of the frame, in its order."""
    read = {*CellRow.__slots__, "budget_label", "ensemble"}
    columns = {name: frame[name].tolist() for name in map(str, frame.columns) if name in read}
    found = [
        _cell_row({name: values[i] for name, values in columns.items()}) for i in range(len(frame))
    ]
    refuted = {_defended(row) for row in found if row.status == "contradicts_proof"}
    return [replace(row, refuted=True) if _defended(row) in refuted else row for row in found]


def _defended(row: CellRow) -> tuple[str, ...]:
    return row.benchmark, row.matrix, row.victim, row.defense


def _cell_row(row: Mapping[str, Any]) -> CellRow:
    eps, found, weights = row["eps"], row.get("replications"), row.get("weights")
    return CellRow(
        key=str(row["key"]),
        cell_id=str(row["cell_id"]),
        benchmark=str(row["benchmark"]),
        matrix=str(row["matrix"]),
        task=str(row["task"]),
        threat_model=str(row["threat_model"]),
        access=str(row["access"]),
        victim=str(row["victim"]),
        defense=str(row["defense"]),
        attack=str(row["attack"]),
        goal=str(row["goal"]),
        stale=bool(row["stale"]),
        withdrawn=bool(row.get("withdrawn", False)),
        contained=bool(row["contained"]),
        defense_control=bool(row["defense_control"]),
        attack_control=bool(row["attack_control"]),
        budget=str(row["budget_label"]),
        eps=None if eps is None or eps != eps else float(eps),
        seed=int(row["seed"]),
        made_against=_optional(row.get("made_against")),
        status=str(row["status"]),
        stage=_optional(row["stage"]),
        reason=_optional(row["reason"]),
        by=_optional(row["by"]),
        derived=bool(row["ensemble"]),
        approximate=bool(row.get("approximate", False)),
        thin=tuple(row.get("thin") or ()),
        shared=_optional(row.get("shared")) or "",
        limits=row["budget"] if isinstance(row["budget"], Mapping) else {},
        checks=row.get("checks") or {},
        record=row["record"] if isinstance(row["record"], Record) else None,
        replications=found if isinstance(found, Replications) else None,
        weights=weights if isinstance(weights, ReleasedWeights) else None,
    )


def _optional(value: object) -> str | None:
    """Return a text or ``None``; pandas writes NaN for a missing text."""
    return value if isinstance(value, str) and value else None
