"""The values that ranked tables are made of: plain data, printed by terminal, pages and exports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.report.perturbation_size import PerturbationSize
from harness.report.ranking_rules import Headline
from harness.report.worst_case import Estimate


@dataclass(frozen=True)
class TableFlag:
    """A flag of a cell: name, sentence and the attack of its column."""

    name: str
    text: str
    attack: str


@dataclass(frozen=True)
class TableCell:
    """One defence under one attack, over all seeds.

    Attributes:
        status: of the closed list; of several seeds the first that is not ok.
        reason: one sentence, wherever there is no number.
        by: what a status other than ok is put down to.
        score: the headline figure. clean: the figure beside it. control: the same figure on the
            network that was trained without the attack.
        heat: damage class 0–9. strongest: the row's strongest single attack.
        sizes: of the change, mean over seeds; ``None`` where nothing was measured.
        planned: seeds planned. ok: seeds with a result. cost: passes and queries, mean over seeds.
    """

    attack: str
    status: str
    word: str
    reason: str | None
    by: str | None
    score: Estimate | None
    clean: Estimate | None
    control: Estimate | None
    heat: int | None
    strongest: bool
    derived: bool
    stale: bool
    contained: bool
    flags: tuple[TableFlag, ...]
    sizes: PerturbationSize | None
    planned: int
    ok: int
    cost: float

    @property
    def applicable(self) -> bool:
        """Whether the cell counts towards coverage."""
        return self.status != "not_applicable" and not self.derived

    @property
    def gap(self) -> bool:
        """Whether an attack that could have a result has none, or not on every seed."""
        return self.applicable and self.status != "ok"


@dataclass(frozen=True)
class Row:
    """One defence.

    Attributes:
        rank: 1 + the number of defences that are significantly better; ``None`` below the line.
        tied: another defence has the same rank. bracket: rows of one number cannot be told apart.
        bound: empty, or ``upper``/``lower`` where an applicable attack lacks a result.
        control: what ``Cell.control`` is, of the strongest attack.
        strongest: the strongest single attack; below the line, the strongest of those measured.
        covered: attacks with a result. applicable: attacks that could have one.
        gaps: the cells between the two. cells: in the order of the table's attacks.
        seconds: training time, mean over records. times: the same over the undefended control's.
        beaten_by: the defences that are significantly better.
    """

    defense: str
    is_control: bool
    rank: int | None
    tied: bool
    bracket: int | None
    bound: str
    score: Estimate | None
    clean: Estimate | None
    control: Estimate | None
    strongest: str | None
    covered: int
    applicable: int
    gaps: tuple[TableCell, ...]
    flags: tuple[TableFlag, ...]
    stale: int
    contained: bool
    seconds: float | None
    times: float | None
    beaten_by: tuple[str, ...]
    cells: tuple[TableCell, ...]


@dataclass(frozen=True)
class AttackRow:
    """One attack over all defences.

    Attributes:
        derived: an ensemble, judged from its members' outcomes; counts for nothing.
        strongest_for: defences for which no single attack is stronger.
        only_it_breaks: mean over defences of the score that would come back without it, or
            ``None`` where the rule has no such figure (the greedy choice).
        score: the headline figure and sizes: of the change, both means over defences.
        folded: no defence has a number here, so the matrix needs no column.
    """

    attack: str
    is_control: bool
    derived: bool
    access: str
    strongest_for: int
    only_it_breaks: float | None
    score: float | None
    sizes: PerturbationSize | None
    covered: int
    applicable: int
    folded: bool


@dataclass(frozen=True)
class Table:
    """The defences of one benchmark, matrix, victim and budget.

    Attributes:
        limits: the budget's fields.
        rows: ranked, best first. unranked: below the line, best first.
        attacks: by access, then strongest first, controls last.
        counts: status → planned cells (seeds counted one by one).
        measured: ISO moment of the newest number.
    """

    benchmark: str
    matrix: str
    task: str
    threat_model: str
    victim: str
    budget: str
    eps: float | None
    limits: Mapping[str, Any]
    goal: str
    headline: Headline
    rows: tuple[Row, ...]
    unranked: tuple[Row, ...]
    attacks: tuple[AttackRow, ...]
    counts: Mapping[str, int]
    seeds: tuple[int, ...]
    examples: int | None
    measured: str | None

    @property
    def unbounded(self) -> bool:
        """Whether nothing limits the change: then a figure says little without its size."""
        return bool(self.limits.get("unbounded"))
