"""Ranked tables: what the frame says about every defence, attack and gap, as plain data.

``tables(frame)`` is the one entrance. The terminal and the site print what it returns and compute
nothing themselves.
"""

from __future__ import annotations

import statistics as plain
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from harness.judge.flags import Flag
from harness.report.cells import STATUSES, CellRow, cell_rows
from harness.report.cross_flags import cross_flags
from harness.report.perturbation_size import mean_size, perturbation_size
from harness.report.ranking_rules import Headline, headline_of, heat_class
from harness.report.tables import AttackRow, Row, Table, TableCell, TableFlag
from harness.report.worst_case import (
    Estimate,
    Outcome,
    Worst,
    better,
    decode,
    greedy,
    joint,
    pooled,
    single,
)
from harness.results.records import Record

_ACCESS = ("victim", "oracle", "source", "none")
_TRAINING = ("sanitize", "train", "repair")
_ATTACKING = ("poison", "deliver", "learn", "attack")
_OTHER = "its outcomes cannot be joined: they are missing, or of other examples than most cells'"


def tables(frame: pd.DataFrame) -> list[Table]:
    """All ranked tables: benchmarks, matrices, victims as planned, budgets from large to small.

    What is unbounded comes last: it is no larger budget, but another question.
    """
    planned = cell_rows(frame)
    more = cross_flags(planned)
    found: dict[tuple[str, str, str], dict[str, list[CellRow]]] = {}
    for line in planned:
        budgets = found.setdefault((line.benchmark, line.matrix, line.victim), {})
        budgets.setdefault(line.budget, []).append(line)
    return [
        _table(group, more)
        for budgets in found.values()
        for group in sorted(budgets.values(), key=_size)
    ]


def _size(group: Sequence[CellRow]) -> tuple[bool, float]:
    return bool(group[0].limits.get("unbounded")), -(group[0].eps or 0.0)


def _table(planned: Sequence[CellRow], more: Mapping[str, Sequence[Flag]]) -> Table:
    planned = _beside_one(planned)
    first = planned[0]
    headline = headline_of(first.threat_model, first.task)
    decoded = _decoded(planned)
    drafts = [
        _Draft(name, group, headline, decoded, more)
        for name, group in _grouped(planned, "defense").items()
    ]
    attacks = _attacks(planned, drafts, headline)
    beaten = better({d.name: d.worst.evidence for d in drafts if d.worst and d.complete})
    base = next((d.seconds for d in drafts if d.group[0].defense_control and d.seconds), None)
    rows = [draft.row(attacks, beaten.get(draft.name), base) for draft in drafts]
    rows.sort(key=lambda row: _place(row, headline))
    return Table(
        benchmark=first.benchmark,
        matrix=first.matrix,
        task=first.task,
        threat_model=first.threat_model,
        victim=first.victim,
        budget=first.budget,
        eps=first.eps,
        limits=dict(first.limits),
        goal=first.goal,
        headline=headline,
        rows=tuple(_bracketed([row for row in rows if row.rank])),
        unranked=tuple(row for row in rows if not row.rank),
        attacks=tuple(attacks),
        counts=dict(sorted(Counter(line.status for line in planned).items())),
        seeds=tuple(sorted({line.seed for line in planned})),
        examples=next((outcome.size for outcome in decoded.values()), None),
        measured=max((_finished(line) for line in planned), default="") or None,
    )


def _beside_one(planned: Sequence[CellRow]) -> list[CellRow]:
    """Put what victim or attack declines beside one defence only down to that defence.

    Both share a process with the defence, which may have spoken for them; where another defence's
    cell has a result, they can play.
    """
    plays = {(line.attack, line.seed) for line in planned if line.status == "ok"}
    found = []
    for line in planned:
        declined = line.status == "not_applicable" and line.by in ("victim", "attack")
        if declined and (line.attack, line.seed) in plays:
            reason = f"the {line.by} declines beside this defence only: {line.reason}"
            line = replace(line, status="avoided", by="defense", reason=reason)
        found.append(line)
    return found


def _grouped(planned: Iterable[CellRow], by: str) -> dict[str, list[CellRow]]:
    groups: dict[str, list[CellRow]] = {}
    for line in planned:
        groups.setdefault(getattr(line, by), []).append(line)
    return groups


def _finished(line: CellRow) -> str:
    """When a number came; a record that only says why there is none was not measured."""
    return line.record.run.finished if line.record and line.record.metrics else ""


def _decoded(planned: Sequence[CellRow]) -> dict[str, Outcome]:
    """Key → outcomes, of the records that were scored on the same examples as most."""
    found = {
        line.key: outcome
        for line in planned
        if line.status == "ok" and line.record and (outcome := decode(line.record))
    }
    fresh = Counter(found[line.key].ids for line in planned if line.key in found and not line.stale)
    usual = (fresh or Counter(outcome.ids for outcome in found.values())).most_common(1)
    return {key: outcome for key, outcome in found.items() if outcome.ids == usual[0][0]}


class _Draft:
    """One defence before the others are known: its cells, its worst case, its gaps."""

    def __init__(
        self,
        name: str,
        group: Sequence[CellRow],
        headline: Headline,
        decoded: Mapping[str, Outcome],
        more: Mapping[str, Sequence[Flag]],
    ) -> None:
        self.name, self.group, self.headline = name, group, headline
        by_attack = _grouped(group, "attack")
        self.cells = {attack: _cell(found, headline, more) for attack, found in by_attack.items()}
        runs = {
            attack: {line.seed: decoded[line.key] for line in found if line.key in decoded}
            for attack, found in by_attack.items()
            if not found[0].derived
        }
        self.worst = self._worst(runs)
        self.gaps = [
            cell if cell.gap else replace(cell, word="other examples", reason=_OTHER)
            for attack, cell in self.cells.items()
            if cell.gap or (self._needs_bits(cell) and len(runs[attack]) < cell.ok)
        ]
        self.covered = sum(cell.applicable for cell in self.cells.values()) - len(self.gaps)
        self.complete = not self.gaps and self.covered > 0
        self.strongest = self._strongest()
        self.seconds = _training_seconds(group)

    def _needs_bits(self, cell: TableCell) -> bool:
        return self.headline.rule != "single" and cell.applicable and cell.status == "ok"

    def _worst(self, runs: Mapping[str, Mapping[int, Outcome]]) -> Worst | None:
        if self.headline.rule == "joint":
            return joint(runs)
        if self.headline.rule == "greedy":
            return greedy(runs)
        scores = {
            attack: cell.score
            for attack, cell in self.cells.items()
            if cell.score and not cell.derived
        }
        return single(runs, scores, self.headline.higher_is_better, self.headline.kept)

    def _strongest(self) -> str | None:
        """The strongest single attack; of equals the cheapest, then the first planned."""
        tried = [cell for cell in self.cells.values() if cell.score and not cell.derived]
        sign = self.headline.sign
        best = min(
            tried, key=lambda c: (sign * c.score.value if c.score else 0.0, c.cost), default=None
        )
        return best.attack if best else None

    def row(
        self, attacks: Sequence[AttackRow], beaten_by: set[str] | None, base: float | None
    ) -> Row:
        measured = [self.cells[self.strongest]] if self.strongest else []
        measured += [cell for cell in self.cells.values() if cell.clean]
        shown = measured[0] if measured else next(iter(self.cells.values()))
        cells = [self.cells.get(a.attack) or _unplanned(a) for a in attacks]
        ranked = beaten_by is not None
        return Row(
            defense=self.name,
            is_control=self.group[0].defense_control,
            rank=1 + len(beaten_by) if beaten_by is not None else None,
            tied=False,
            bracket=None,
            bound="" if ranked else ("upper" if self.headline.higher_is_better else "lower"),
            score=self.worst.score if self.worst else None,
            clean=shown.clean,
            control=shown.control,
            strongest=self.strongest,
            covered=self.covered,
            applicable=self.covered + len(self.gaps),
            gaps=tuple(self.gaps),
            flags=tuple(flag for cell in cells for flag in cell.flags),
            stale=sum(line.stale for line in self.group),
            contained=not any(line.self_reported for line in self.group),
            seconds=self.seconds,
            times=self.seconds / base if self.seconds is not None and base else None,
            beaten_by=tuple(sorted(beaten_by or ())),
            cells=tuple(replace(c, strongest=c.attack == self.strongest) for c in cells),
        )


def _cell(
    found: Sequence[CellRow], headline: Headline, more: Mapping[str, Sequence[Flag]]
) -> TableCell:
    """One cell over its seeds."""
    first = found[0]
    bad = next((line for line in found if line.status != "ok"), None)
    records = [line.record for line in found if line.status == "ok" and line.record]
    score = _figure(records, headline.metric)
    clean = _figure(records, headline.clean)
    status, reason = ("ok", None) if bad is None else (bad.status, bad.why)
    if bad and len(found) > 1 and records:
        reason = f"seed {bad.seed}: {reason}"
    elif bad is None and score is None:
        reason = _absent(records, headline.metric)
    whole = score if bad is None else None
    return TableCell(
        attack=first.attack,
        status=status,
        word="undefined" if bad is None and score is None else STATUSES[status].word,
        reason=reason,
        by=None if bad is None else bad.by,
        score=whole,
        clean=clean,
        control=_figure(records, headline.control) if headline.control else None,
        heat=heat_class(headline, first.task, whole.value, clean.value if clean else None)
        if whole
        else None,
        strongest=False,
        derived=first.derived,
        stale=any(line.stale for line in found),
        contained=not any(line.self_reported for line in found),
        flags=_flags(found, more),
        sizes=mean_size([perturbation_size(record) for record in records]),
        planned=len(found),
        ok=len(records),
        cost=plain.fmean(_passes(record) for record in records) if records else 0.0,
    )


def _unplanned(column: AttackRow) -> TableCell:
    reason = "not planned for this defence"
    status = "not_applicable"
    word = STATUSES[status].word
    return TableCell(
        attack=column.attack,
        status=status,
        word=word,
        reason=reason,
        by="rule",
        score=None,
        clean=None,
        control=None,
        heat=None,
        strongest=False,
        derived=column.derived,
        stale=False,
        contained=True,
        flags=(),
        sizes=None,
        planned=0,
        ok=0,
        cost=0.0,
    )


def _figure(records: Sequence[Record], metric: str) -> Estimate | None:
    found = [record for record in records if metric in record.metrics]
    maps = found[0].confusions if found else None
    return pooled([r.metrics[metric] for r in found], int(maps["shape"][0]) if maps else None)


def _absent(records: Sequence[Record], metric: str) -> str:
    for record in records:
        if metric in record.metrics:
            return record.metrics[metric].absent or "no value was recorded"
    return f"the record has no {metric}"


def _flags(found: Sequence[CellRow], more: Mapping[str, Sequence[Flag]]) -> tuple[TableFlag, ...]:
    named: dict[str, TableFlag] = {}
    for line in found:
        own = line.record.flags if line.record else ()
        for flag in (*own, *more.get(line.key, ())):
            named.setdefault(flag.name, TableFlag(flag.name, flag.text, line.attack))
    return tuple(named.values())


def _passes(record: Record) -> float:
    """Rows that the attack sent through a network, both ways."""
    return float(sum(sum(record.cost.get(stage, {}).values()) for stage in _ATTACKING))


def _training_seconds(group: Sequence[CellRow]) -> float | None:
    """Mean training time over records; ``None`` where nothing was trained."""
    runs = [line.record.run.seconds for line in group if line.record]
    spent = [sum(run[s] for s in _TRAINING if s in run) for run in runs if "train" in run]
    return plain.fmean(spent) if spent else None


def _attacks(
    planned: Sequence[CellRow], drafts: Sequence[_Draft], headline: Headline
) -> list[AttackRow]:
    rows = []
    for attack, found in _grouped(planned, "attack").items():
        cells = [draft.cells[attack] for draft in drafts if attack in draft.cells]
        scores = [cell.score.value for cell in cells if cell.score]
        row = AttackRow(
            attack=attack,
            is_control=found[0].attack_control,
            derived=found[0].derived,
            access=found[0].access,
            strongest_for=sum(draft.strongest == attack for draft in drafts),
            only_it_breaks=_only(attack, drafts, headline),
            score=plain.fmean(scores) if scores else None,
            sizes=mean_size([cell.sizes for cell in cells]),
            covered=sum(cell.status == "ok" for cell in cells),
            applicable=sum(cell.status != "not_applicable" for cell in cells),
            folded=not any(cell.status == "ok" for cell in cells),
        )
        strength = headline.sign * plain.fmean(scores) if scores else 2.0
        rows.append((_access(row.access), row.derived, row.is_control, strength, attack, row))
    return [row for *_, row in sorted(rows, key=lambda entry: entry[:5])]


def _access(access: str) -> int:
    return _ACCESS.index(access) if access in _ACCESS else len(_ACCESS)


def _only(attack: str, drafts: Sequence[_Draft], headline: Headline) -> float | None:
    lost = [
        headline.sign * (draft.worst.without[attack] - draft.worst.score.value)
        for draft in drafts
        if draft.worst and attack in draft.worst.without
    ]
    return plain.fmean(lost) if lost else None


def _place(row: Row, headline: Headline) -> tuple[int, float, float, str]:
    score = headline.sign * row.score.value if row.score else -2.0
    return row.rank or 0, -score, -(row.clean.value if row.clean else 0.0), row.defense


def _bracketed(rows: Sequence[Row]) -> list[Row]:
    """Rows with equal ranks marked; a bracket breaks where one inside beats another."""
    ranks = Counter(row.rank for row in rows)
    done: list[Row] = []
    bracket, inside = 0, list[Row]()
    for row in rows:
        apart = any(row.defense in o.beaten_by or o.defense in row.beaten_by for o in inside)
        if inside and (inside[0].rank != row.rank or apart):
            bracket, inside = bracket + 1, []
        done.append(replace(row, tied=ranks[row.rank] > 1, bracket=bracket))
        inside.append(row)
    return done
