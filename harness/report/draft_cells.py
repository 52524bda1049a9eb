"""Cells of a table: one defence under one attack, over its seeds."""

from __future__ import annotations

import statistics as plain
from collections.abc import Mapping, Sequence

from harness.judge.flags import Flag
from harness.report.cells import STATUSES, CellRow
from harness.report.flag_kinds import direction_of
from harness.report.perturbation_size import mean_size, perturbation_size
from harness.report.ranking_rules import Headline, heat_class
from harness.report.tables import AttackRow, TableCell, TableFlag
from harness.report.worst_case import Estimate, pooled
from harness.results.records import Record

_ATTACKING = ("poison", "deliver", "learn", "attack")


def make_cell(
    found: Sequence[CellRow], headline: Headline, more: Mapping[str, Sequence[Flag]]
) -> TableCell:
    """Return one cell over its seeds."""
    first = found[0]
    bad = next((row for row in found if row.status != "ok"), None)
    records = [row.record for row in found if row.status == "ok" and row.record]
    score = _figure(records, headline.metric)
    clean = _figure(records, headline.clean)
    seconds = [s for r in records if (s := r.run.attack_seconds) is not None]
    status, reason = ("ok", None) if bad is None else (bad.status, bad.why)
    if bad and len(found) > 1 and records:
        reason = f"seed {bad.seed}: {reason}"
    elif bad is None and score is None:
        reason = _absent(records, headline.metric)
    whole = score if bad is None else None
    return TableCell(
        attack=first.attack,
        made_against=first.made_against,
        is_control=first.attack_control,
        status=status,
        word="undefined" if bad is None and score is None else STATUSES[status].word,
        reason=reason,
        by=None if bad is None else bad.by,
        score=whole,
        clean=clean,
        control=_figure(records, headline.control) if headline.control else None,
        clean_form=_figure(records, headline.clean_form) if headline.clean_form else None,
        untargeted=_figure(records, headline.untargeted) if headline.untargeted else None,
        heat=heat_class(headline, first.task, whole.value, clean.value if clean else None)
        if whole
        else None,
        strongest=False,
        derived=first.derived,
        broken=False,
        stale=any(row.stale for row in found),
        contained=not any(row.self_reported for row in found),
        flags=_flags(found, more),
        sizes=mean_size([perturbation_size(record) for record in records]),
        distance=None,
        planned=len(found),
        ok=len(records),
        cost=plain.fmean(_passes(record) for record in records) if records else 0.0,
        seconds=plain.fmean(seconds) if seconds else None,
    )


def unplanned_cell(column: AttackRow) -> TableCell:
    """Return the cell of an attack that is not planned for a defence."""
    own = column.made_against and "this defence meets the same inputs in another column"
    status = "not_applicable"
    return TableCell(
        attack=column.attack,
        made_against=column.made_against,
        is_control=column.is_control,
        status=status,
        word=STATUSES[status].word,
        reason=own or "not planned for this defence",
        by="rule",
        score=None,
        clean=None,
        control=None,
        clean_form=None,
        untargeted=None,
        heat=None,
        strongest=False,
        derived=column.derived,
        broken=column.broken,
        stale=False,
        contained=True,
        flags=(),
        sizes=None,
        distance=None,
        planned=0,
        ok=0,
        cost=0.0,
        seconds=None,
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
    for row in found:
        own = row.record.flags if row.record else ()
        for flag in (*own, *more.get(row.key, ())):
            direction = direction_of(flag.name, undefended=row.defense_control)
            named.setdefault(flag.name, TableFlag(flag.name, flag.text, row.attack, direction))
    return tuple(named.values())


def _passes(record: Record) -> float:
    """Return the number of rows that the attack sent through a network, both ways."""
    costs = [record.cost.get(stage, {}) for stage in _ATTACKING]
    return float(sum(cost.get(way, 0) for cost in costs for way in ("forward", "backward")))
