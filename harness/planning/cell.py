"""Cells of a plan: which one it is, and the stages that its score reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.common.status import By, Status
from harness.config.data_entry import family_of
from harness.config.field_types import Limit, Value
from harness.config.strict_yaml import Json
from harness.config.threat import CONTROLS
from harness.planning.options import Fields

OPTIONAL = ("made_against", "weights")
"""Fields of a cell's description that most cells lack: their keys are older than the fields."""


@dataclass(frozen=True, slots=True)
class CellInfo(Fields):
    """Description of a cell in the benchmark's words: the ``cell`` part of its record.

    Attributes:
        benchmark: name of the benchmark.
        matrix: name of the matrix.
        task: task of the student's data set.
        threat_model: the matrix's threat model.
        victim: label of the victim's entry.
        defense: label of the defence's entry.
        attack: label of the attack's entry, or name of an ensemble.
        defense_module: name of the defence's module.
        attack_module: name of the attack's module, or of an ensemble.
        budget: the fields of the budget that are set.
        budget_label: the budget for people.
        goal: label of the goal.
        knowledge: label of the attacker's knowledge.
        data: role → name of the data set.
        seed: the seed.
        made_against: label of the defence that the attacked inputs were made against, where it is
            another one.
        weights: ``VICTIM/WEIGHTS`` that the row's network is, where its entry names some.
    """

    benchmark: str
    matrix: str
    task: str
    threat_model: str
    victim: str
    defense: str
    attack: str
    defense_module: str
    attack_module: str
    budget: Mapping[str, Limit]
    budget_label: str
    goal: str
    knowledge: str
    data: Mapping[str, str]
    seed: int
    made_against: str | None = None
    weights: str | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the fields by name; without a value ``OPTIONAL`` ones are left out."""
        found = Fields.to_json(self)
        return {
            name: found[name] for name in found if not (name in OPTIONAL and found[name] is None)
        }

    @property
    def undefended(self) -> bool:
        """Whether the row is the undefended control; a released network is a row of its own."""
        return self.defense_module in CONTROLS["defense"] and self.weights is None

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> CellInfo:
        """Return the description that a valid record holds."""
        return cls(**found)

    def labels(self, column: str) -> set[str]:
        """Return what ``--only`` may write for a column: its value, of a level its matrix, too."""
        text = str(getattr(self, column) if column in self.__dataclass_fields__ else None)
        return {text, family_of(text)} if column == "matrix" else {text}


@dataclass(frozen=True, slots=True)
class Cell:
    """One planned number.

    Attributes:
        id: ``benchmark/matrix/victim/defense/attack/budget/seed``, for people and commands.
        info: the record's ``cell`` part.
        key: digest of judge, cell and stages; it names the record.
        stages: role → key of each stage that the score reads; also of a cell whose data are on
            another machine.
        own: keys of the stages that the cell's attack or defence runs. A failure there is the
            cell's own status; elsewhere it blocks the cell.
        reason: why the cell cannot be run, or ``None``.
        status: status of a cell with a reason.
        members: cell ids of an ensemble.
        random: whether the network draws as it answers, so that predictions are of several draws.
        minimal: whether the attack looks for the nearest wrong input, so that those that lie
            farther away than the budget's radius are none.
        modules: reference → digest of the modules in play.
        params: role → resolved parameters.
        absent: metric → why the plan has no stages for it.
        handed: label → module of the attacks that are run in order, each on what still stands.
        left_out: label of an attack that cannot be among these → why.
        remarks: what the modules say of themselves on such data.
    """

    id: str
    info: CellInfo
    key: str
    stages: Mapping[str, str]
    own: frozenset[str] = frozenset()
    reason: str | None = None
    status: Status = "not_applicable"
    members: tuple[str, ...] = ()
    random: bool = False
    minimal: bool = False
    modules: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    handed: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def omissions(self) -> list[str]:
        """Sentences on the attacks that cannot be among those in order."""
        return [f"{label} is left out: {why}" for label, why in self.left_out.items()]

    @property
    def by(self) -> By | None:
        """Cause of the reason: a rule of the plan, or the harness where data are missing."""
        if self.reason is None:
            return None
        return "rule" if self.status == "not_applicable" else "harness"
