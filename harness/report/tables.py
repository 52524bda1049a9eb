"""Ranked tables as plain data, printed by terminal, pages and exports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.report.flag_kinds import Direction
from harness.report.perturbation_size import PerturbationSize
from harness.report.proven import Proven
from harness.report.ranking_rules import Headline
from harness.report.released import ReleasedWeights
from harness.report.worst_case import Estimate


def made_by(attack: str, made_against: str | None) -> str:
    """Return a column's attack without the defence that borrowed inputs were made against.

    >>> made_by("pgd@none", "none"), made_by("pgd", None)
    ('pgd', 'pgd')
    """
    return attack if made_against is None else attack.removesuffix(f"@{made_against}")


@dataclass(frozen=True)
class TableFlag:
    """A flag of a cell.

    Attributes:
        name: key of ``flag_kinds.FLAG_KINDS``.
        text: a sentence with the figures.
        attack: the attack of its column.
        direction: what it speaks for or doubts.
    """

    name: str
    text: str
    attack: str
    direction: Direction


@dataclass(frozen=True)
class Caveat:
    """What must be said beside a defence's number.

    Attributes:
        name: key of ``caveats.CAVEATS``.
        text: a few words for readers.
        warn: whether the number may be worth less than it looks.
    """

    name: str
    text: str
    warn: bool


@dataclass(frozen=True)
class TableCell:
    """One defence under one attack, over all seeds.

    Attributes:
        attack: label of the attack.
        made_against: the defence that borrowed inputs were made against, or ``None``.
        is_control: whether the attack is a control.
        status: of the closed list; of several seeds the first that is not ok.
        word: text of the status.
        reason: one sentence, wherever there is no number.
        by: role that a status other than ok is put down to.
        score: the headline figure.
        clean: the same kind of figure without the attack.
        control: the headline figure of the network that was trained without the attack.
        clean_form: that of the network that started from what the attack delivers in its clean
            form; ``None`` where the attack names none.
        untargeted: in a targeted matrix the figure that counts any error, else ``None``.
        heat: damage class 0–9.
        strongest: whether this is the row's strongest single attack.
        derived: whether the attack is an ensemble.
        broken: whether the attack fails against the undefended network too; it counts for none.
        stale: whether some record is stale.
        contained: whether all records were made in containers.
        flags: flags of the cell's records.
        sizes: size of the change, mean over seeds; ``None`` where nothing was measured.
        distance: median distance of the nearest wrong inputs, where the budget asks for them.
        planned: number of planned seeds.
        ok: number of seeds with a result.
        cost: passes and queries, mean over seeds.
        seconds: wall time of the attack, mean over seeds; ``None`` where none was run.
    """

    attack: str
    made_against: str | None
    is_control: bool
    status: str
    word: str
    reason: str | None
    by: str | None
    score: Estimate | None
    clean: Estimate | None
    control: Estimate | None
    clean_form: Estimate | None
    untargeted: Estimate | None
    heat: int | None
    strongest: bool
    derived: bool
    broken: bool
    stale: bool
    contained: bool
    flags: tuple[TableFlag, ...]
    sizes: PerturbationSize | None
    distance: Estimate | None
    planned: int
    ok: int
    cost: float
    seconds: float | None

    @property
    def name(self) -> str:
        """Label of the attack, without the defence that borrowed inputs were made against."""
        return made_by(self.attack, self.made_against)

    @property
    def is_attack(self) -> bool:
        """Whether it is an attack on this defence: no control, no ensemble, nothing borrowed."""
        return not (self.is_control or self.derived or self.made_against)

    @property
    def covered(self) -> bool:
        """Whether every seed has a result."""
        return self.status == "ok"

    @property
    def applicable(self) -> bool:
        """Whether the cell needs a result for the defence to be ranked.

        Of controls and borrowed inputs only those that fail because of this defence.
        """
        if self.status == "not_applicable" or self.derived:
            return False
        if self.is_attack:
            return self.covered or not self.broken
        return self.by == "defense" and self.status not in ("ok", "blocked")

    @property
    def doubted(self) -> bool:
        """Whether a flag doubts the cell's number."""
        return any(flag.direction.serious for flag in self.flags)

    @property
    def gap(self) -> bool:
        """Whether an attack that could have a result has none, or not on every seed."""
        return self.applicable and not self.covered


@dataclass(frozen=True)
class Row:
    """One defence against all attacks.

    Attributes:
        defense: label of the defence.
        is_control: whether the defence is a control.
        rank: 1 + the number of defences that are significantly better; ``None`` if unranked.
        last: the worst place: all ranked defences but those that are significantly worse.
        tied: whether another defence has the same rank.
        bracket: number of a group of rows without a significant difference between any two.
        bound: empty, or ``upper``/``lower`` where an applicable attack lacks a result.
        score: the headline figure in the worst case.
        clean: the same kind of figure without an attack.
        control: ``TableCell.control`` of the strongest attack.
        clean_form: ``TableCell.clean_form`` of the strongest attack.
        untargeted: in a targeted matrix the worst case that counts any error, else ``None``.
        distance: median distance of the nearest wrong inputs that all attacks together found, where
            the budget asks for them.
        strongest: the strongest single attack; if unranked, the strongest of those measured.
        covered: number of attacks on this defence with a result; controls are no attacks.
        applicable: number of attacks on this defence that could have a result.
        borrowed: number of results on inputs of other cells.
        controls: number of controls with a result.
        gaps: cells that need a result and have none.
        flags: flags of all cells.
        signs: those of them that are signs of blinding.
        blinded: whether a sign keeps the defence from being ranked.
        elsewhere: results of other budgets and matrices without which the score was higher.
        stale: number of stale cells.
        contained: whether all records were made in containers.
        seconds: training time, mean over records.
        steps: gradient steps of training, as stages counted them, mean over records.
        times: training time as a multiple of the undefended control's.
        loss_cosine: median cosine of the gradients of training loss and margin, or ``None``.
        proven: the proven bound that holds for the row, if there is one.
        as_constant: ``Draft.as_constant``.
        certified: mean share of examples certified to stay right at the radius, or ``None``.
        beaten_by: defences that are significantly better.
        approximate: whether the defence's gradient is approximate, where the attacker uses it.
        weights: the released network that the row is, with its claims beside ours.
        caveats: what must be said beside the score.
        cells: one a column, in the order of the table's attacks.
    """

    defense: str
    is_control: bool
    rank: int | None
    last: int | None
    tied: bool
    bracket: int | None
    bound: str
    score: Estimate | None
    clean: Estimate | None
    control: Estimate | None
    clean_form: Estimate | None
    untargeted: Estimate | None
    distance: Estimate | None
    strongest: str | None
    covered: int
    applicable: int
    borrowed: int
    controls: int
    gaps: tuple[TableCell, ...]
    flags: tuple[TableFlag, ...]
    signs: tuple[TableFlag, ...]
    blinded: bool
    elsewhere: tuple[str, ...]
    stale: int
    contained: bool
    seconds: float | None
    steps: float | None
    times: float | None
    loss_cosine: float | None
    proven: Proven | None
    as_constant: float | None
    certified: float | None
    beaten_by: tuple[str, ...]
    approximate: bool
    weights: ReleasedWeights | None
    caveats: tuple[Caveat, ...]
    cells: tuple[TableCell, ...]

    @property
    def certified_text(self) -> str:
        """The certified share in words; empty where nothing is certified."""
        return "" if self.certified is None else f"{self.certified:.1%} certified at this radius"

    @property
    def mark(self) -> str:
        """What stands before a score that is a bound: ``≤`` or ``≥`` and a space, else nothing."""
        return {"": "", "upper": "≤ ", "lower": "≥ "}[self.bound]

    @property
    def place(self) -> str:
        """The places that the defence may have, as ``1–3``; a dash if it is not ranked."""
        return "–" if self.rank is None or self.last is None else places(self.rank, self.last)


@dataclass(frozen=True)
class AttackStanding:
    """Place of an attack among those of its table, and what it costs.

    Attributes:
        rank: best place that it may have: 1 + the number of attacks that are significantly better.
        last: worst place: all but the number of attacks that are significantly worse.
        reach: what it breaks, as a share of what all attacks together break; of distances, how much
            it brings wrong inputs nearer. The mean over defences, at most 1.
        reach_at_cost: the same against those attacks alone that take no more passes; ``None``
            where none of these takes anything.
        passes: passes of an example through the network, both ways, mean over defences.
        seconds: wall time of the attack, mean over defences; ``None`` where it is not known.
    """

    rank: int
    last: int
    reach: float
    reach_at_cost: float | None
    passes: float
    seconds: float | None

    @property
    def place(self) -> str:
        """The places that it may have, as ``1–3``."""
        return places(self.rank, self.last)


def places(rank: int, last: int) -> str:
    """Return a range of places.

    >>> places(1, 3), places(2, 2)
    ('1–3', '2')
    """
    return f"{rank}" if rank == last else f"{rank}–{last}"


@dataclass(frozen=True)
class AttackRow:
    """One attack over all defences.

    Attributes:
        attack: label of the attack.
        made_against: the defence that borrowed inputs were made against, or ``None``.
        is_control: whether the attack is a control.
        broken: whether it fails against the undefended network too; it counts for none.
        derived: whether the attack is an ensemble, judged from its members; it counts for nothing.
        access: what the attacker holds of the victim.
        strongest_for: number of defences for which no single attack is stronger.
        only_it_breaks: gain of the worst-case score without this attack, mean over defences, or
            ``None`` where the rule has no such figure (the greedy choice).
        score: the headline figure, mean over defences.
        sizes: size of the change, mean over defences.
        covered: number of defences with a result.
        applicable: number of defences that could have a result.
        folded: whether no defence has a number here, so that the matrix needs no column.
        standing: its place among the attacks; ``None`` if it is not ranked.
    """

    attack: str
    made_against: str | None
    is_control: bool
    broken: bool
    derived: bool
    access: str
    strongest_for: int
    only_it_breaks: float | None
    score: float | None
    sizes: PerturbationSize | None
    covered: int
    applicable: int
    folded: bool
    standing: AttackStanding | None

    @property
    def name(self) -> str:
        """Label of the attack, without the defence that borrowed inputs were made against."""
        return made_by(self.attack, self.made_against)


@dataclass(frozen=True)
class Table:
    """The defences of one benchmark, matrix, victim and budget.

    Attributes:
        benchmark: name of the benchmark.
        matrix: name of the matrix.
        task: classification, ranking or segmentation.
        threat_model: name of the threat model.
        victim: label of the victim.
        budget: label of the budget.
        eps: the budget's radius, if it has one.
        limits: fields of the budget.
        goal: goal of the attacks.
        headline: the figure that ranks.
        misses: in a targeted table, attack → why it is doubtful whether it aims.
        rows: ranked defences, best first.
        unranked: defences with gaps, best first.
        attacks: columns by access, then strongest first, controls last.
        counts: status → number of planned cells, each seed by itself.
        seeds: seeds of the cells.
        examples: number of examples that were judged.
        measured: ISO time of the newest result.
        thin: kinds of attacks that the matrix lacks.
        shared: what of its data is in two splits, as a sentence; or empty.
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
    misses: Mapping[str, str]
    rows: tuple[Row, ...]
    unranked: tuple[Row, ...]
    attacks: tuple[AttackRow, ...]
    counts: Mapping[str, int]
    seeds: tuple[int, ...]
    examples: int | None
    measured: str | None
    thin: tuple[str, ...]
    shared: str

    @property
    def aimless(self) -> bool:
        """Whether attacks were measured with targets, and it is doubtful whether any aims."""
        measured = {
            a.attack
            for a in self.attacks
            if a.covered and not (a.is_control or a.derived or a.made_against)
        }
        return bool(self.misses) and measured <= set(self.misses)

    @property
    def minimal(self) -> bool:
        """Whether attacks look for the nearest wrong input, so that distances are the result."""
        return bool(self.limits.get("minimal"))

    @property
    def unbounded(self) -> bool:
        """Whether nothing limits the change, so that a figure means little without its size."""
        return bool(self.limits.get("unbounded"))
