"""Where networks look, as records hold it: one value a victim, budget, attack and mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.cells import CellRow, Metric

MASSES = (
    "object_mass_clean",
    "object_mass_attacked",
    "trigger_mass_clean",
    "trigger_mass_attacked",
)
"""Figures with quartiles, in the order of the table's columns."""

CONDITIONS = ("at_object_clean", "at_trigger", "at_object_attacked")
"""Shares of the examples whose map meets a condition: (i), (ii) and (iii) of the page."""

AREAS = {"object": "object_area", "trigger": "trigger_area"}
"""Box → figure: share of the picture that it covers, which is the mass of a flat map in it."""


@dataclass(frozen=True)
class AttentionRow:
    """One network of the table.

    Attributes:
        line: its cell.
        figures: figures of the eval subset by name.
    """

    line: CellRow
    figures: Mapping[str, Metric]


@dataclass(frozen=True)
class Attention:
    """Maps of all defences under one attack.

    Attributes:
        j: index of the victim on the page.
        victim: label of the victim.
        budget: label of the budget.
        attack: label of the attack.
        mode: mode of the maps.
        rows: the networks, all seeds: undefended ones first, then in the order of the benchmark.
    """

    j: int
    victim: str
    budget: str
    attack: str
    mode: str
    rows: tuple[AttentionRow, ...]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Its victim, budget, attack and mode, which no other value of the page has."""
        return self.victim, self.budget, self.attack, self.mode

    @property
    def seed(self) -> int:
        """Seed whose pictures are shown: the first."""
        return min(row.line.seed for row in self.rows)

    @property
    def pictured(self) -> tuple[CellRow, ...]:
        """Cells of that seed, one a row of the pictures."""
        return tuple(row.line for row in self.rows if row.line.seed == self.seed)

    @property
    def areas(self) -> tuple[tuple[str, Metric], ...]:
        """Boxes with their areas, which are equal for all networks."""
        return tuple((box, self.rows[0].figures[name]) for box, name in AREAS.items())

    @property
    def notes(self) -> tuple[str, ...]:
        """What the records say of examples that are left out, each once."""
        notes = (note for row in self.rows if row.line.record for note in row.line.record.notes)
        return tuple(dict.fromkeys(note for note in notes if note.startswith("attention")))


def attention(planned: Sequence[CellRow]) -> list[Attention]:
    """Return the maps of a matrix's records; controls of attacks have no trigger to look at."""
    victims = list(dict.fromkeys(line.victim for line in planned))
    groups: dict[tuple[str, str, str, str], list[AttentionRow]] = {}
    for line in sorted(
        planned, key=lambda line: (victims.index(line.victim), not line.defense_control)
    ):
        if line.status == "ok" and line.record and not line.attack_control:
            for mode, figures in (line.record.attention or {}).items():
                key = (line.victim, line.budget, line.attack, mode)
                groups.setdefault(key, []).append(AttentionRow(line, figures))
    return [
        Attention(victims.index(victim), victim, budget, attack, mode, tuple(rows))
        for (victim, budget, attack, mode), rows in groups.items()
    ]
