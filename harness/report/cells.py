"""The frame's rows as typed values: the one place where leaderboard and site read pandas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Status:
    """How one status is said.

    Attributes:
        word: in a cell. meaning: one sentence for the legend.
        cannot: the thing cannot be, as opposed to: was not done.
    """

    word: str
    meaning: str
    cannot: bool = False


STATUSES: dict[str, Status] = {
    "ok": Status("ok", "has a result"),
    "not_applicable": Status(
        "n/a", "ruled out by the plan, or declined by victim or attack; does not count", cannot=True
    ),
    "avoided": Status(
        "avoided", "made impossible by the defence itself; counts as a gap", cannot=True
    ),
    "module_error": Status("error", "a module raised an exception"),
    "contract_violation": Status("contract", "a module broke its contract"),
    "budget_violation": Status("over budget", "the attack changed more than the budget allows"),
    "timeout": Status("timeout", "stopped at its time limit"),
    "out_of_memory": Status("no memory", "stopped at its memory limit"),
    "blocked": Status("blocked", "a stage that it needs has failed"),
    "infra_error": Status("infra", "the machinery failed, not a module"),
    "missing": Status("missing", "planned, not run yet, or its data are not at hand"),
}
"""The one table from status to words, for pages, CSV and legend."""

BLAMED = {
    ("avoided", "defense"): "made impossible by the defence",
    ("not_applicable", "victim"): "declined by the victim",
    ("not_applicable", "attack"): "declined by the attack",
}
"""Status and blame → words before the reason, where the reason alone would not say who declines."""
FAILED = {"victim": "in the victim", "defense": "in the defence", "attack": "in the attack"}
"""The same for every other status; rules and the harness speak for themselves."""


def explained(status: str, by: str | None, reason: str | None) -> str | None:
    """Return the reason of a status with the role that it is put down to.

    >>> explained("avoided", "defense", "needs pictures")
    'made impossible by the defence: needs pictures'
    """
    before = BLAMED.get((status, by or "")) or FAILED.get(by or "")
    # a budget is the attack's to keep, and what blocks a cell names its stage and module
    if reason is None or before is None or status in ("ok", "budget_violation", "blocked"):
        return reason
    return f"{before}: {reason}"


@dataclass(frozen=True, slots=True)
class Line:
    """One planned cell.

    Attributes:
        status: a key of ``STATUSES``.
        by: what it is put down to, or ``None`` where it is ok or nothing was recorded.
        budget: its label. limits: its fields. derived: an ensemble, judged from its members.
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
    status: str
    stage: str | None
    reason: str | None
    by: str | None
    stale: bool
    contained: bool
    defense_control: bool
    attack_control: bool
    derived: bool
    limits: Mapping[str, Any]
    record: Record | None

    @property
    def word(self) -> str:
        """The status in words."""
        return STATUSES[self.status].word

    @property
    def why(self) -> str | None:
        """The reason, with the role that it is put down to."""
        return explained(self.status, self.by, self.reason)

    @property
    def self_reported(self) -> bool:
        """Whether modules had a say and ran without isolation; a plan's own ``n/a`` is no claim."""
        planned = self.status == "not_applicable" and self.stage is None
        return self.record is not None and not self.contained and not planned


def lines(frame: pd.DataFrame) -> list[Line]:
    """One value a row, in the frame's order."""
    read = {*Line.__slots__, "budget_label", "ensemble"}
    columns = {name: frame[name].tolist() for name in map(str, frame.columns) if name in read}
    return [_line({name: values[i] for name, values in columns.items()}) for i in range(len(frame))]


def _line(row: dict[str, Any]) -> Line:
    eps = row["eps"]
    return Line(
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
        contained=bool(row["contained"]),
        defense_control=bool(row["defense_control"]),
        attack_control=bool(row["attack_control"]),
        budget=str(row["budget_label"]),
        eps=None if eps is None or eps != eps else float(eps),
        seed=int(row["seed"]),
        status=str(row["status"]),
        stage=_optional(row["stage"]),
        reason=_optional(row["reason"]),
        by=_optional(row["by"]),
        derived=bool(row["ensemble"]),
        limits=row["budget"] if isinstance(row["budget"], Mapping) else {},
        record=row["record"] if isinstance(row["record"], Mapping) else None,
    )


def _optional(value: object) -> str | None:
    """Text or ``None``; pandas writes NaN for both a missing text and a missing number."""
    return value if isinstance(value, str) and value else None
