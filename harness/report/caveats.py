"""Caveats: what must be said wherever a defence's number is shown, in one table for all places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.report.tables import Caveat, Row, Table


def _limit(row: Row, table: Table) -> str:
    if row.rank or not row.score:
        return ""
    why = "a sign that attacks were blinded" if row.blinded and not row.gaps else "missing results"
    return f"{'at most' if table.headline.higher_is_better else 'at least'}, because of {why}"


def _blinded(row: Row, table: Table) -> str:
    if not row.blinded:
        return ""
    return ", ".join(sorted({sign.name.replace("_", " ") for sign in row.signs}))


def _flags(row: Row, table: Table) -> str:
    signs = {sign.name for sign in row.signs}
    names = {one.name for one in row.flags if one.direction.serious and one.name not in signs}
    return ", ".join(sorted(names)).replace("_", " ") if names else ""


def _tie(row: Row, table: Table) -> str:
    if row.rank is None or row.rank == row.last:
        return ""
    return f"no significant difference over places {row.place} of {len(table.rows)}"


def _stale(row: Row, table: Table) -> str:
    return f"{row.stale} stale {'record' if row.stale == 1 else 'records'}" if row.stale else ""


def _approximate(row: Row, table: Table) -> str:
    return "a better attack may lower this" if row.approximate else ""


def _not_contained(row: Row, table: Table) -> str:
    return "" if row.contained else "run without isolation"


def _thin(row: Row, table: Table) -> str:
    return f"the matrix lacks a {' and a '.join(table.thin)}" if table.thin else ""


CAVEATS: dict[str, tuple[Callable[[Row, Table], str], bool]] = {
    "limit": (_limit, True),
    "blinded": (_blinded, True),
    "flagged": (_flags, True),
    "approximate gradient": (_approximate, True),
    "stale": (_stale, True),
    "self-reported": (_not_contained, True),
    "thin": (_thin, True),
    "tie": (_tie, False),
}
"""THE table of caveats: name, as pages print it → its text of a row in its table, empty where it does not apply; and
whether it warns. Page, overview, exports and terminal print these, and no others."""


def with_caveats(table: Table) -> Table:
    """Return the table with the caveats of each row, in the order of ``CAVEATS``."""
    rows, unranked = (
        tuple(replace(row, caveats=_caveats(row, table)) for row in part)
        for part in (table.rows, table.unranked)
    )
    return replace(table, rows=rows, unranked=unranked)


def _caveats(row: Row, table: Table) -> tuple[Caveat, ...]:
    return tuple(
        Caveat(name, text, warn)
        for name, (look, warn) in CAVEATS.items()
        if (text := look(row, table))
    )
