"""Setting of one cell: everything that decides its stages."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

from harness.config.benchmark import Matrix
from harness.config.budget import BudgetEntry
from harness.config.field_types import Limit
from harness.config.threat import THREATS, ThreatModel
from harness.datasets import Dataset, Datasets
from harness.planning.resolved_entry import MINIMAL, ResolvedEntry

DRAWING_HOOKS = ("build", "guard")
"""Hooks whose code runs as a network answers; what draws elsewhere, trains once."""


@dataclass(frozen=True, slots=True)
class MatrixContext:
    """What all cells of a matrix share.

    Attributes:
        matrix: the matrix as it is written.
        threat: its threat model.
        sets: role → data set.
        data: role → name of the data set.
        goal: label of the goal.
        knowledge: label of the attacker's knowledge.
        surrogate: the network that the attacker trains, or ``None``.
    """

    matrix: Matrix
    threat: ThreatModel
    sets: Mapping[str, Dataset]
    data: Mapping[str, str]
    goal: str
    knowledge: str
    surrogate: ResolvedEntry | None

    @property
    def student(self) -> Dataset:
        """Data set that the victim is trained on and judged by."""
        return self.sets["student"]

    @property
    def task(self) -> str:
        """Task of the student's data set."""
        return self.student.task

    @classmethod
    def of(cls, matrix: Matrix, sets: Datasets, surrogate: ResolvedEntry | None) -> MatrixContext:
        """Return the context of a matrix whose data sets exist."""
        return cls(
            matrix=matrix,
            threat=THREATS[matrix.threat_model],
            sets={role: sets.get(entry.name) for role, entry in matrix.data.items()},
            data={role: entry.name for role, entry in matrix.data.items()},
            goal=matrix.goal.label,
            knowledge=matrix.knowledge.label,
            surrogate=surrogate,
        )


@dataclass(frozen=True, slots=True)
class CellBudget:
    """Budget of a cell, in the forms that a plan needs of it.

    Attributes:
        entry: the budget as it is written.
        values: its fields that are set.
        label: the budget for people.
        slug: the budget in a cell's id.
    """

    entry: BudgetEntry
    values: Mapping[str, Limit]
    label: str
    slug: str


@dataclass(frozen=True, slots=True)
class CellSetting:
    """Setting of one cell, or of its control.

    Attributes:
        context: what the cell shares with its matrix.
        victim: the victim.
        defense: the defence.
        attack: the attack; ``None`` in the control, which is trained without it.
        budget: the budget.
        seed: the seed.
    """

    context: MatrixContext
    victim: ResolvedEntry
    defense: ResolvedEntry
    attack: ResolvedEntry | None
    budget: CellBudget
    seed: int

    @property
    def matrix(self) -> Matrix:
        """The matrix as it is written."""
        return self.context.matrix

    @property
    def threat(self) -> ThreatModel:
        """The matrix's threat model."""
        return self.context.threat

    @property
    def surrogate(self) -> ResolvedEntry | None:
        """The network that the attacker trains, or ``None``."""
        return self.context.surrogate

    @property
    def attacker(self) -> ResolvedEntry:
        """The attack of a cell that has one."""
        assert self.attack is not None
        return self.attack

    @property
    def minimal(self) -> bool:
        """Whether the attack looks for the nearest wrong input, whatever the budget's radius."""
        entry, limits = self.budget.entry, self.attacker.limits
        nearest = f"{MINIMAL}{entry.norm}" in limits and entry.norm not in limits
        return bool(entry.minimal) or (entry.eps is not None and nearest)

    @property
    def attack_budget(self) -> Mapping[str, Limit]:
        """The budget as the attack gets it: one that looks for the nearest gets no radius.

        So its stage is the same at every radius.
        """
        if not self.minimal:
            return self.budget.values
        rest = {name: value for name, value in self.budget.values.items() if name != "eps"}
        return rest | {"minimal": True}

    @property
    def random(self) -> bool:
        """Whether the defended network draws as it answers, by its manifests."""
        draws = self.defense.manifest.random and self.defense.uses(*DRAWING_HOOKS)
        return self.victim.manifest.random or draws

    @property
    def samples(self) -> int:
        """Passes behind an answer of the defended network to a white-box attack."""
        several = self.random or self.defense.noise is not None
        return self.matrix.random.samples if several else 1

    @property
    def headless(self) -> bool:
        """Whether the attack holds existing weights without a last layer: the public network."""
        held = self.threat.access == "source" and self.matrix.needs_public
        return held and "public" not in self.matrix.data

    @property
    def network(self) -> tuple[Hashable, ...]:
        """What the trained network depends on; most cells share theirs with others."""
        cell = (self.matrix.name, self.victim.label, self.defense.label, self.seed)
        if self.attack is None or not (self.threat.poisons or self.threat.delivers):
            return cell
        return (*cell, self.attack.label, *self.budget.values.items())

    def control(self) -> CellSetting:
        """Return the setting of the same defence trained without the attack."""
        return replace(self, attack=None)

    def controls(self) -> dict[str, CellSetting]:
        """Return the settings of the controls, by the names of ``judge.metrics.BACKDOOR_CONTROLS``.

        Beside the defence trained without the attack it is one that starts from the network that
        the attack delivers in its clean form, if its manifest names one.
        """
        found = {"control": self.control()}
        clean = self.attacker.clean_form if self.threat.delivers else None
        return found | ({"clean_form": replace(self, attack=clean)} if clean else {})
