"""Ranked tables of a frame: defences, attacks and gaps as plain data.

``tables(frame)`` is the entry point. Terminal and site print its values and compute nothing.
"""

from __future__ import annotations

import math
import statistics as plain
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from harness.judge.flags import Flag
from harness.report.aim import misses
from harness.report.attack_ranking import rank_attacks
from harness.report.blinding import Case, judge_signs
from harness.report.caveats import with_caveats
from harness.report.cells import CellRow, cell_rows
from harness.report.constant_answer import constant_share
from harness.report.cross_flags import cross_flags
from harness.report.drafts import Draft, elsewhere_runs, grouped
from harness.report.evidence import Decoder, Elsewhere
from harness.report.noise_floor import flag_noise
from harness.report.paired_tests import standings
from harness.report.perturbation_size import mean_size
from harness.report.ranking_rules import Headline, headline_of
from harness.report.tables import AttackRow, Row, Table

_ACCESS = ("victim", "oracle", "source", "none")
_PLAYS = ("ok", "not_applicable")
"""Statuses of an attack that is not broken."""


def tables(frame: pd.DataFrame) -> list[Table]:
    """Return all ranked tables as planned, of each victim the largest budget first.

    Unbounded budgets come last: they are no larger budget, but another question.
    """
    planned = cell_rows(frame)
    more, elsewhere = cross_flags(planned), Elsewhere(planned)
    found: dict[tuple[str, str, str], dict[str, list[CellRow]]] = {}
    for row in planned:
        budgets = found.setdefault((row.benchmark, row.matrix, row.victim), {})
        budgets.setdefault(row.budget, []).append(row)
    made = []
    for budgets in found.values():
        decoder = Decoder()
        groups = sorted(budgets.values(), key=_size)
        made += [_table(group, more, elsewhere, decoder) for group in groups]
    return made


def _size(group: Sequence[CellRow]) -> tuple[bool, bool, float]:
    limits = group[0].limits
    radius = (group[0].eps or 0.0) * max(limits.get("per_channel") or (1.0,))
    return bool(limits.get("minimal")), bool(limits.get("unbounded")), -radius


def _table(
    planned: Sequence[CellRow],
    more: Mapping[str, Sequence[Flag]],
    elsewhere: Elsewhere,
    decoder: Decoder,
) -> Table:
    planned = _beside_one(planned)
    first = planned[0]
    headline = headline_of(first.threat_model, first.task, first.goal)
    decoded = decoder.comparable(planned)
    broken, constant = _broken(planned), constant_share(planned)
    drafts = []
    for name, group in grouped(planned, "defense").items():
        sources = elsewhere.of(group)
        runs = elsewhere_runs(sources, decoder, decoded)
        drafts.append(Draft(name, group, headline, decoded, more, broken, runs, sources, constant))
    minimal = bool(first.limits.get("minimal"))
    if not minimal:  # signs are those of radii
        cases = [Case(draft) for draft in drafts]
        judge_signs(cases)
        flag_noise(cases)
    attacks = _attacks(planned, drafts, headline, broken)
    # a distance is an upper bound: whoever blinds attacks has the largest
    ranked = [] if minimal else [d for d in drafts if d.rankable]
    able = {d.name for d in ranked if d.as_constant is None}
    places = standings({d.name: d.worst.evidence for d in ranked if d.worst}, able)
    base = next((d.seconds for d in drafts if d.group[0].defense_control and d.seconds), None)
    rows = [draft.row(attacks, places.get(draft.name), base) for draft in drafts]
    rows.sort(key=lambda row: _by_distance(row) if minimal else _place(row, headline))
    table = Table(
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
        misses=misses(drafts) if headline.targeted else {},
        rows=tuple(_bracketed([row for row in rows if row.rank])),
        unranked=tuple(row for row in rows if not row.rank),
        attacks=tuple(attacks),
        counts=dict(sorted(Counter(row.status for row in planned).items())),
        seeds=tuple(sorted({row.seed for row in planned})),
        examples=next((outcome.size for outcome in decoded.values()), None),
        measured=max((_finished(row) for row in planned), default="") or None,
        thin=first.thin,
        shared=first.shared,
    )
    return with_caveats(table)


def _beside_one(planned: Sequence[CellRow]) -> list[CellRow]:
    """Put it down to the defence if victim or attack declines beside that defence only.

    A result beside another defence shows that they can play.
    """
    plays = {(row.attack, row.seed) for row in planned if row.status == "ok"}
    found = []
    for row in planned:
        declined = row.status == "not_applicable" and row.by in ("victim", "attack")
        if declined and (row.attack, row.seed) in plays:
            reason = f"the {row.by} declines beside this defence only: {row.reason}"
            row = replace(row, status="avoided", by="defense", reason=reason)
        found.append(row)
    return found


def _broken(planned: Sequence[CellRow]) -> frozenset[str]:
    """Return the attacks that fail by their own fault against the undefended network, too.

    Without that control, those that fail so against every defence.
    """
    undefended = [row for row in planned if row.defense_control]
    failed = {
        attack: [row.by == "attack" and row.status not in _PLAYS for row in rows]
        for attack, rows in grouped(undefended or planned, "attack").items()
    }
    one_is_enough = bool(undefended)
    return frozenset(
        attack for attack, each in failed.items() if (any(each) if one_is_enough else all(each))
    )


def _finished(row: CellRow) -> str:
    """Return the time of a record with figures, else an empty text."""
    return row.record.run.finished if row.record and row.record.metrics else ""


def _attacks(
    planned: Sequence[CellRow],
    drafts: Sequence[Draft],
    headline: Headline,
    broken: Collection[str],
) -> list[AttackRow]:
    rows, places = [], rank_attacks(drafts)
    for attack, found in grouped(planned, "attack").items():
        cells = [draft.cells[attack] for draft in drafts if attack in draft.cells]
        scores = [cell.score.value for cell in cells if cell.score]
        row = AttackRow(
            attack=attack,
            made_against=found[0].made_against,
            is_control=found[0].attack_control,
            broken=attack in broken,
            derived=found[0].derived,
            access=found[0].access,
            strongest_for=sum(draft.strongest == attack for draft in drafts),
            only_it_breaks=None if found[0].attack_control else _only(attack, drafts, headline),
            score=plain.fmean(scores) if scores else None,
            sizes=mean_size([cell.sizes for cell in cells]),
            covered=sum(cell.status == "ok" for cell in cells),
            applicable=sum(cell.status != "not_applicable" for cell in cells),
            folded=not any(cell.status == "ok" for cell in cells),
            standing=places.get(attack),
        )
        strength = headline.sign * plain.fmean(scores) if scores else 2.0
        place = (_access(row.access), row.derived, row.is_control, row.made_against or "")
        rows.append((*place, strength, attack, row))
    return [row for *_, row in sorted(rows, key=lambda entry: entry[:6])]


def _access(access: str) -> int:
    return _ACCESS.index(access) if access in _ACCESS else len(_ACCESS)


def _only(attack: str, drafts: Sequence[Draft], headline: Headline) -> float | None:
    lost = [
        headline.sign * (draft.worst.without[attack] - draft.worst.score.value)
        for draft in drafts
        if draft.worst and attack in draft.worst.without
    ]
    return plain.fmean(lost) if lost else None


def _place(row: Row, headline: Headline) -> tuple[float, int, float, str]:
    """Order by the figure as pages print it, so that no row stands above one that looks better."""
    score = headline.sign * round(row.score.value, 3) if row.score else -2.0
    return -score, row.rank or 0, -(row.clean.value if row.clean else 0.0), row.defense


def _by_distance(row: Row) -> tuple[float, int, float, str]:
    """Order by the median distance, the largest first: infinite ones, then those not measured."""
    unknown = math.inf if row.covered else -1.0
    return -(row.distance.value if row.distance else unknown), 0, 0.0, row.defense


def _bracketed(rows: Sequence[Row]) -> list[Row]:
    """Mark rows with equal ranks; a bracket ends where one of its rows beats another."""
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
