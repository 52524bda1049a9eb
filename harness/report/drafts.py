"""One defence of a table before it is ranked: its cells, its worst case, its gaps."""

from __future__ import annotations

import statistics as plain
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from harness.config.matrix_entries import ITSELF
from harness.judge.flags import Flag
from harness.judge.smoothing import CERTIFIED
from harness.report.cells import CellRow
from harness.report.constant_answer import exceeds
from harness.report.draft_cells import make_cell, unplanned_cell
from harness.report.evidence import Decoder, Found
from harness.report.gradient_signs import LOSS_COSINE
from harness.report.nearest import nearest
from harness.report.paired_tests import Standing
from harness.report.proven import METRIC, Proven, beside
from harness.report.ranking_rules import Headline
from harness.report.released import ReleasedWeights
from harness.report.resisting import reached, resisting
from harness.report.tables import AttackRow, Row, TableCell, TableFlag
from harness.report.worst_case import (
    Outcome,
    Worst,
    greedy,
    joint,
    single,
)
from harness.results.record_parts import STEPS

_TRAINING = ("sanitize", "train", "repair")
_OTHER = "its outcomes cannot be joined: they are missing, or of other examples than most cells'"

Runs = dict[str, dict[int, Outcome]]


def grouped(planned: Iterable[CellRow], by: str) -> dict[str, list[CellRow]]:
    """Return the cells by an attribute, in their order."""
    groups: dict[str, list[CellRow]] = {}
    for row in planned:
        groups.setdefault(getattr(row, by), []).append(row)
    return groups


class Draft:
    """One defence before it is ranked.

    Args:
        name: label of the defence.
        group: its cells.
        headline: the figure that ranks.
        decoded: key → outcomes, of cells with comparable ones.
        more: key → flags that compare cells.
        broken: attacks that fail against the undefended network too, which count for no defence.
        elsewhere: label → seed → outcomes of other budgets and matrices that count as well.
        sources: label → seed → the cells that these are of.
        constant: share that the same answer to every input keeps, where it is known.

    Attributes:
        sources: label of a result from elsewhere → one of its cells.
        cells: attack → cell over its seeds.
        own: attack → seed → outcomes of its cells, those of controls too.
        elsewhere: label → seed → outcomes of other budgets and matrices.
        runs: label → seed → outcomes that count against the defence, those of controls too; empty
            where no attack has any.
        worst: worst case over all runs, or ``None``.
        untargeted: the same in a targeted matrix, by any error; else ``None``.
        gaps: cells of attacks that could have a result and have none.
        complete: whether the defence can be ranked, as far as results go.
        strongest: label of the strongest single attack, or ``None``.
        as_constant: share that the same answer to every input keeps, where the defence does not
            keep more (under attack, or clean where attacks are ranked by success); else ``None``.
        signs: signs that the defence blinds attacks.
        blinded: whether a sign keeps it from being ranked.
    """

    def __init__(
        self,
        name: str,
        group: Sequence[CellRow],
        headline: Headline,
        decoded: Mapping[str, Outcome],
        more: Mapping[str, Sequence[Flag]],
        broken: Collection[str],
        elsewhere: Runs,
        sources: Found,
        constant: float | None,
    ) -> None:
        self.name, self.group, self.headline = name, group, headline
        by_attack = grouped(group, "attack")
        self.cells = {
            attack: replace(make_cell(found, headline, more), broken=attack in broken)
            for attack, found in by_attack.items()
        }
        own: Runs = {
            attack: {
                row.seed: decoded[row.key]
                for row in found
                if row.key in decoded and decoded[row.key].decides(headline.kept)
            }
            for attack, found in by_attack.items()
            if not found[0].derived
        }
        self.own, self.elsewhere = own, elsewhere
        self.cells = {
            attack: replace(cell, distance=nearest({attack: own.get(attack, {})}))
            for attack, cell in self.cells.items()
        }
        self.sources = {label: next(iter(sources[label].values())) for label in elsewhere}
        tried = any(runs and not self.cells[label].is_control for label, runs in own.items())
        # an input of a control lies within the budget, too; but controls alone are no trial
        self.runs = own | elsewhere if tried else {}
        self.worst = self._worst()
        self.untargeted = self._untargeted()
        self.gaps = [
            cell if cell.gap else replace(cell, word="other examples", reason=_OTHER)
            for attack, cell in self.cells.items()
            if cell.gap or (self._needs_bits(cell) and len(own[attack]) < cell.ok)
        ]
        self.complete = not self.gaps and any(cell.score for cell in self.attacks)
        self.strongest = self._strongest()
        self.seconds, self.steps = _training_seconds(group), _training_steps(group)
        self.loss_cosine = _loss_cosine(group)
        self.proven = self._proven()
        self.as_constant = self._as_constant(constant)
        self.signs: tuple[TableFlag, ...] = ()
        self.blinded = False

    @property
    def minimal(self) -> bool:
        """Whether attacks look for the nearest wrong input, so that distances are the result."""
        return bool(self.group[0].limits.get("minimal"))

    @property
    def attacks(self) -> list[TableCell]:
        """Cells of attacks on this defence, without controls and ensembles."""
        return [cell for cell in self.cells.values() if cell.is_attack]

    @property
    def rankable(self) -> bool:
        """Whether the defence takes part in the ranking."""
        held = self.proven is None or not self.proven.contradicted
        has_learned = self.headline.higher_is_better or self.as_constant is None
        tried = self.worst is not None and self.complete
        return tried and not self.blinded and held and has_learned

    def _as_constant(self, share: float | None) -> float | None:
        if self.headline.higher_is_better:
            kept = self.worst.score if self.worst else None
        else:
            kept = next((cell.clean for cell in self.cells.values() if cell.clean), None)
        if kept is None or share is None or self.minimal:
            return None
        return None if exceeds(kept, share) else share

    def _proven(self) -> Proven | None:
        """Return the bounds of a released network, with the images that its worst case leaves."""
        first = self.group[0]
        if first.weights is None or not first.weights.proven:
            return None
        record = next((row.record for row in self.group if row.record), None)
        score = self.worst.score if self.worst and self.headline.metric == METRIC else None
        return beside(first.weights.proven, first.limits, record, score.value if score else None)

    def _needs_bits(self, cell: TableCell) -> bool:
        joined = self.headline.rule != "single" and not (cell.derived or cell.is_control)
        return joined and cell.covered

    def _worst(self) -> Worst | None:
        if self.headline.rule != "single":
            worst = resisting(self.runs, self.headline.rule, self.headline.kept)
            return worst if self.headline.higher_is_better else reached(worst)
        scores = {
            attack: cell.score
            for attack, cell in self.cells.items()
            if cell.score and not cell.derived and not cell.is_control
        }
        return single(self.runs, scores, self.headline.higher_is_better, self.headline.kept)

    def _untargeted(self) -> Worst | None:
        if not self.headline.targeted:
            return None
        return greedy(self.runs) if self.headline.rule == "images" else joint(self.runs)

    def _strongest(self) -> str | None:
        """Return the strongest single attack; of equals the cheapest, then the first planned.

        Inputs that were made before, against this network or another, come after their equals:
        they cost nothing, but an attack that was planned explains the figure. Where no target is
        reached, none is. Where distances are the result, it is the attack of the least.
        """
        if self.minimal:
            found = [cell for cell in self.attacks if cell.distance and cell.covered]
            near = min(found, key=lambda c: c.distance.value if c.distance else 0.0, default=None)
            return near.attack if near else None
        tried = [
            cell
            for cell in self.cells.values()
            if cell.score
            and not (cell.derived or cell.is_control)
            and (cell.score.value or not self.headline.targeted)
        ]
        sign = self.headline.sign
        best = min(
            tried,
            key=lambda c: (
                sign * c.score.value if c.score else 0.0,
                c.made_against is not None,
                c.cost,
            ),
            default=None,
        )
        return best.attack if best else None

    def _only_elsewhere(self) -> tuple[str, ...]:
        """Return the results of other budgets and matrices without which the score was better."""
        if self.worst is None:
            return ()
        score, sign = self.worst.score.value, self.headline.sign
        without = {label: self.worst.without.get(label, score) for label in self.elsewhere}
        return tuple(label for label, value in without.items() if sign * (value - score) > 0)

    def row(
        self, attacks: Sequence[AttackRow], standing: Standing | None, base: float | None
    ) -> Row:
        """Return the defence's row.

        Args:
            attacks: columns of the table.
            standing: its place among the ranked ones; ``None`` if it is not ranked.
            base: seconds that the undefended network's training took.
        """
        measured = [self.cells[self.strongest]] if self.strongest else []
        measured += [cell for cell in self.cells.values() if cell.clean]
        sample = measured[0] if measured else next(iter(self.cells.values()))
        cells = [self.cells.get(a.attack) or unplanned_cell(a) for a in attacks]
        return Row(
            defense=self.name,
            is_control=self.group[0].defense_control,
            rank=standing.rank if standing else None,
            last=standing.last if standing else None,
            tied=False,
            bracket=None,
            bound="" if standing else ("upper" if self.headline.higher_is_better else "lower"),
            score=self.worst.score if self.worst else None,
            clean=sample.clean,
            control=sample.control,
            clean_form=sample.clean_form,
            untargeted=self.untargeted.score if self.untargeted else None,
            distance=nearest(self.own),
            strongest=self.strongest,
            covered=sum(cell.covered for cell in self.attacks),
            applicable=sum(cell.applicable for cell in self.attacks),
            borrowed=sum(
                c.covered and c.made_against not in (None, ITSELF) for c in self.cells.values()
            ),
            controls=sum(cell.is_control and cell.covered for cell in self.cells.values()),
            gaps=tuple(self.gaps),
            flags=(*self.signs, *(flag for cell in cells for flag in cell.flags)),
            signs=self.signs,
            blinded=self.blinded,
            elsewhere=self._only_elsewhere(),
            stale=sum(row.stale for row in self.group),
            contained=not any(row.self_reported for row in self.group),
            seconds=self.seconds,
            steps=self.steps,
            times=self.seconds / base if self.seconds is not None and base else None,
            loss_cosine=self.loss_cosine,
            certified=_certified(self.group),
            proven=self.proven,
            as_constant=self.as_constant,
            beaten_by=standing.beaten_by if standing else (),
            approximate=self.group[0].approximate,
            weights=self._weights(sample, standing),
            caveats=(),
            cells=tuple(replace(c, strongest=c.attack == self.strongest) for c in cells),
        )

    def _weights(self, sample: TableCell, standing: Standing | None) -> ReleasedWeights | None:
        """Return the released network with our figures beside its claims; bounds are no figure."""
        weights, headline = self.group[0].weights, self.headline
        if weights is None:
            return None
        ours = {headline.clean: sample.clean}
        if standing and self.worst:
            ours[headline.metric] = self.worst.score
            ours[headline.untargeted] = self.untargeted.score if self.untargeted else None
        return weights.beside({metric: one for metric, one in ours.items() if one})


def elsewhere_runs(found: Found, decoder: Decoder, decoded: Mapping[str, Outcome]) -> Runs:
    """Return label → seed → outcomes of other cells on the same examples as ``decoded``."""
    ids = {outcome.ids for outcome in decoded.values()}
    runs: Runs = {}
    for label, rows in found.items():
        outcomes = {seed: decoder.of(row) for seed, row in rows.items()}
        same = {seed: one for seed, one in outcomes.items() if one is not None and one.ids in ids}
        if same:
            runs[label] = same
    return runs


def _training_steps(group: Sequence[CellRow]) -> float | None:
    """Return the mean number of training steps over records; ``None`` where none was counted."""
    costs = [[row.record.cost.get(s, {}) for s in _TRAINING] for row in group if row.record]
    steps = [sum(cost[STEPS] for cost in stages if STEPS in cost) for stages in costs]
    return plain.fmean(steps) if any(steps) else None


def _loss_cosine(group: Sequence[CellRow]) -> float | None:
    """Return the probes' mean cosine of training loss and margin; ``None`` without a probe."""
    figures = [(row.record.health or {}) if row.record else {} for row in group]
    found = [float(one[LOSS_COSINE]) for one in figures if LOSS_COSINE in one]
    return plain.fmean(found) if found else None


def _certified(group: Sequence[CellRow]) -> float | None:
    """Return the mean certified accuracy over seeds; ``None`` where nothing is certified.

    What an attack contradicts certifies nothing.
    """
    if any(row.refuted for row in group):
        return None
    found = {row.seed: row.record.metrics.get(CERTIFIED) for row in group if row.record}
    values = [one.value for one in found.values() if one and one.value is not None]
    return plain.fmean(values) if values else None


def _training_seconds(group: Sequence[CellRow]) -> float | None:
    """Return the mean training time over records; ``None`` where nothing was trained."""
    runs = [row.record.run.seconds for row in group if row.record]
    spent = [sum(run[s] for s in _TRAINING if s in run) for run in runs if "train" in run]
    return plain.fmean(spent) if spent else None
