"""Outcomes that count against a defence: its cells', and those that exist elsewhere.

An attacker with a budget may stay below it, and one who holds a network may also ask it. So results
at smaller radii of the same norm, and those of query attacks on the same network, count as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from harness.config.threat import THREATS
from harness.report.cells import CellRow
from harness.report.worst_case import Outcome, decode

Found = Mapping[str, Mapping[int, CellRow]]
"""Label → seed → cell."""
_LIMITS = ("eps", "queries", "answers")


class Decoder:
    """Decodes the outcomes of cells, each once."""

    def __init__(self) -> None:
        self._known: dict[str, Outcome | None] = {}

    def of(self, row: CellRow) -> Outcome | None:
        """Return the outcomes of a cell with a result, or ``None``."""
        if row.status != "ok" or row.record is None:
            return None
        if row.key not in self._known:
            self._known[row.key] = decode(row.record)
        return self._known[row.key]

    def comparable(self, planned: Sequence[CellRow]) -> dict[str, Outcome]:
        """Return key → outcomes, of the cells that were scored on the same examples as most."""
        found = {row.key: outcome for row in planned if (outcome := self.of(row))}
        fresh = Counter(found[row.key].ids for row in planned if row.key in found and not row.stale)
        usual = (fresh or Counter(outcome.ids for outcome in found.values())).most_common(1)
        return {key: outcome for key, outcome in found.items() if outcome.ids == usual[0][0]}


class Elsewhere:
    """Results of other budgets and matrices that count against the defences of a table.

    Args:
        planned: all cells of the report.
    """

    def __init__(self, planned: Iterable[CellRow]) -> None:
        self._families: dict[tuple[str, ...], list[CellRow]] = {}
        self._asked: dict[tuple[str, ...], list[CellRow]] = {}
        for row in planned:
            ignored = row.derived or row.attack_control or row.stale
            if row.status != "ok" or ignored or row.eps is None:
                continue
            if THREATS[row.threat_model].at_test == "perturb":
                self._families.setdefault(_family(row), []).append(row)
            if row.access == "oracle" and (network := _network(row)):
                self._asked.setdefault(network, []).append(row)

    def of(self, group: Sequence[CellRow]) -> Found:
        """Return what counts beside the cells of one defence.

        Args:
            group: the cells of one defence, victim, matrix and budget.
        """
        first = group[0]
        found: dict[str, dict[int, CellRow]] = {}
        if first.eps is None:
            return found
        for row in self._families.get(_family(first), ()):
            if _within(row, first) and row.eps != first.eps:
                found.setdefault(f"{row.attack} at {row.budget}", {})[row.seed] = row
        if THREATS[first.threat_model].borrows:
            networks = {network: row.seed for row in group if (network := _network(row))}
            for network, seed in networks.items():
                for row in self._asked.get(network, ()):
                    if _within(row, first):
                        label = f"{row.attack} in {row.matrix}, {row.budget}"
                        found.setdefault(label, {})[seed] = row
        return found


def _family(row: CellRow) -> tuple[str, ...]:
    """Return what cells have in common that differ in attack, radius or seed."""
    names = (row.benchmark, row.matrix, row.victim, row.defense, row.goal)
    return (*names, rest_of_budget(row, "eps"))


def _within(row: CellRow, other: CellRow) -> bool:
    """Return whether a budget lies within another's, whatever its queries."""
    assert row.eps is not None
    assert other.eps is not None
    return row.eps <= other.eps and rest_of_budget(row, *_LIMITS) == rest_of_budget(other, *_LIMITS)


def rest_of_budget(row: CellRow, *without: str) -> str:
    """Return the budget's other fields as one comparable value."""
    return repr(sorted((k, v) for k, v in row.limits.items() if k not in without))


def _network(row: CellRow) -> tuple[str, ...] | None:
    """Return what tells a defended network on its examples from others.

    A guard adds nothing to the key of the network, so its module and parameters stand beside it.
    """
    record = row.record
    if record is None or "network" not in record.stages:
        return None
    module = f"defenses/{record.cell.defense_module}"
    guard = (
        module,
        record.modules.get(module, ""),
        repr(sorted(record.params.get("defense", {}).items())),
    )
    return (record.stages["network"], record.stages["slice"], row.goal, *guard)
