"""Caveats: what must be said wherever a defence's number is shown, in one table for all places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from harness.judge.flags import POINTS
from harness.report.flag_kinds import Direction
from harness.report.tables import Caveat, Row, Table


def _limit(row: Row, table: Table) -> str:
    if row.rank or not row.score or table.minimal:
        return ""
    why = "missing results"
    if row.blinded and not row.gaps:
        why = "a sign that attacks were blinded"
    elif row.as_constant and not (row.gaps or table.headline.higher_is_better):
        why = "a network that has learned next to nothing"
    return f"{'at most' if table.headline.higher_is_better else 'at least'}, because of {why}"


def _blinded(row: Row, table: Table) -> str:
    if not row.blinded:
        return ""
    return ", ".join(sorted({sign.name.replace("_", " ") for sign in row.signs}))


def _as_constant(row: Row, table: Table) -> str:
    if row.as_constant is None:
        return ""
    kept = f"the same answer to every input keeps {row.as_constant:.1%}"
    return kept if table.headline.higher_is_better else f"without an attack, {kept}"


def _flags(row: Row, table: Table) -> str:
    signs = {sign.name for sign in row.signs}
    names = {
        one.name
        for one in row.flags
        if one.direction.serious
        and one.name not in signs
        # a doubtful attack matters where the score hangs on it: anyone may add a useless one
        and (one.direction is not Direction.ATTACK or one.attack == row.strongest)
    }
    return ", ".join(sorted(names)).replace("_", " ") if names else ""


def _tie(row: Row, table: Table) -> str:
    if row.rank is None or row.rank == row.last:
        return ""
    return f"no significant difference over places {row.place} of {len(table.rows)}"


def _fewer_counted(row: Row, table: Table) -> str:
    rows = (*table.rows, *table.unranked)
    base = next((one.score.examples for one in rows if one.is_control and one.score), None)
    counted = row.score.examples if row.score else None
    if not (table.headline.targeted and counted and base) or counted >= base * (1 - POINTS):
        return ""
    return f"{counted:,} {table.headline.things} count, {base:,} without a defence"


def _stale(row: Row, table: Table) -> str:
    return f"{row.stale} stale {'record' if row.stale == 1 else 'records'}" if row.stale else ""


def _approximate(row: Row, table: Table) -> str:
    change = "lower" if table.headline.higher_is_better else "raise"
    return f"a better attack may {change} this" if row.approximate else ""


def _not_contained(row: Row, table: Table) -> str:
    return "" if row.contained else "run without isolation"


def _thin(row: Row, table: Table) -> str:
    return f"the matrix lacks a {' and a '.join(table.thin)}" if table.thin else ""


def _shared(row: Row, table: Table) -> str:
    return table.shared


def _contradicted(row: Row, table: Table) -> str:
    return row.proven.text if row.proven and row.proven.contradicted else ""


def _proven(row: Row, table: Table) -> str:
    return row.proven.text if row.proven and not row.proven.contradicted else ""


def _certified(row: Row, table: Table) -> str:
    return row.certified_text


@dataclass(frozen=True)
class Kind:
    """Row of the table of caveats.

    Attributes:
        look: text of a row in its table, empty where the caveat does not apply.
        warn: whether the number may be worth less than it looks.
        meaning: one sentence for readers.
    """

    look: Callable[[Row, Table], str]
    warn: bool
    meaning: str


CAVEATS: dict[str, Kind] = {
    "limit": Kind(_limit, True, "The figure is a bound: a result is missing or in doubt."),
    "blinded": Kind(_blinded, True, "A sign says that attacks were blinded, not resisted."),
    "contradicts a proof": Kind(
        _contradicted,
        True,
        "All attacks together leave fewer right than are proven to stay right: a side is wrong.",
    ),
    "no better than a constant": Kind(
        _as_constant,
        True,
        "No more is right than of a network that answers the same class to every input: that needs "
        "neither learning nor a defence.",
    ),
    "flagged": Kind(_flags, True, "A flag doubts the number: see the matrix and the flags."),
    "approximate gradient": Kind(
        _approximate, True, "Attacks follow a stand-in for the gradient: a better one may do more."
    ),
    "fewer counted": Kind(
        _fewer_counted,
        True,
        "Only what is right before an attack counts, and this defence has fewer such answers.",
    ),
    "stale": Kind(_stale, True, "A module, its data or the judge has changed since."),
    "self-reported": Kind(_not_contained, True, "Some cells ran outside containers."),
    "thin": Kind(_thin, True, "The matrix lacks a kind of attack."),
    "shared examples": Kind(
        _shared, True, "The data have pictures, or groups, that are in two splits."
    ),
    "proven": Kind(
        _proven, False, "A verifier has proven how many of these images stay right at least."
    ),
    "certified": Kind(
        _certified,
        False,
        "Votes on noisy copies, counted by the harness, certify a share of the examples in L2.",
    ),
    "tie": Kind(_tie, False, "The places of a defence are a range: no test tells these apart."),
}
"""THE table of caveats: name, as pages print it → when it applies, and what it means. Page,
overview, exports and terminal print these, and no others."""


def with_caveats(table: Table) -> Table:
    """Return the table with the caveats of each row, in the order of ``CAVEATS``."""
    rows, unranked = (
        tuple(replace(row, caveats=_caveats(row, table)) for row in part)
        for part in (table.rows, table.unranked)
    )
    return replace(table, rows=rows, unranked=unranked)


def _caveats(row: Row, table: Table) -> tuple[Caveat, ...]:
    return tuple(
        Caveat(name, text, kind.warn)
        for name, kind in CAVEATS.items()
        if (text := kind.look(row, table))
    )
