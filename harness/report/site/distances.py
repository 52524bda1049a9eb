"""Curves of accuracy over the radius: left by the nearest wrong inputs, and certified."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.report.cells import CellRow
from harness.report.evidence import Decoder
from harness.report.nearest import nearest_distances
from harness.report.site.axes import round_values
from harness.report.site.curves import BUDGET_AXES, L2_AXIS, BudgetAxis
from harness.report.site.line_panels import Panel, Series, colour, panel
from harness.report.worst_case import Floats, Outcome, Runs

POINTS = 40
"""Points of a line."""
MOST = 8
"""Most attacks with a line, in the order of the plan."""


AXES: Mapping[str, BudgetAxis] = {
    "linf": replace(BUDGET_AXES[0], title="radius in L∞ × 255 →"),
    "l2": replace(L2_AXIS, title="radius in L2 →"),
}
"""Norm → axis of the radii in it."""


@dataclass(frozen=True)
class Distances:
    """Curves of one victim in one norm.

    Attributes:
        victim: label of the victim.
        budget: label of the budget.
        axis: the axis of radii.
        panels: one panel a defence.
    """

    victim: str
    budget: str
    axis: BudgetAxis
    panels: tuple[Panel, ...]


def distances(planned: Sequence[CellRow]) -> list[Distances]:
    """Return the curves of a matrix, of each victim and norm in which distances were measured."""
    decoder = Decoder()
    groups: dict[tuple[str, str], list[CellRow]] = {}
    for row in planned:
        if row.limits.get("minimal") and not row.derived:
            groups.setdefault((row.victim, row.budget), []).append(row)
    found = (_curves(*place, rows, decoder) for place, rows in groups.items())
    return [one for one in found if one.panels]


def _curves(victim: str, budget: str, planned: Sequence[CellRow], decoder: Decoder) -> Distances:
    axis = AXES[planned[0].limits["norm"]]
    decoded = decoder.comparable(planned)
    runs: dict[str, dict[str, dict[int, Outcome]]] = {}
    for row in planned:
        if row.key in decoded and not row.attack_control:
            attacks = runs.setdefault(row.defense, {})
            attacks.setdefault(row.attack, {})[row.seed] = decoded[row.key]
    in_l2 = planned[0].limits["norm"] == "l2"
    certifies = {row.defense for row in planned if in_l2 and not row.refuted}
    return Distances(victim, budget, axis, tuple(_panels(axis, runs, certifies)))


def _panels(axis: BudgetAxis, runs: Mapping[str, Runs], certifies: Collection[str]) -> list[Panel]:
    shortest = [one for attacks in runs.values() for one in nearest_distances(attacks)]
    finite = [one[np.isfinite(one)] for one in shortest]
    farthest = max((float(one.max()) for one in finite if len(one)), default=0.0)
    if not farthest:
        return []
    ticks = round_values((0.0, axis.factor * farthest), most=5, from_zero=True)
    values = [tick / axis.factor for tick in ticks]
    radii = np.linspace(values[0], values[-1], POINTS)
    made = []
    for defense, attacks in runs.items():
        names = list(attacks)[:MOST]
        lines = [
            Series(name, colour(number), _left({name: attacks[name]}, radii), [])
            for number, name in enumerate(names)
        ]
        if len(attacks) > 1:
            lines.insert(0, Series("all attacks", "all", _left(attacks, radii), []))
        if defense in certifies and (radii_of := _certified(attacks)):
            lines.append(Series("certified", "control", _share(radii_of, radii), []))
        if any(line.known for line in lines):
            made.append(panel(defense, axis, lines, values))
    return made


def _left(runs: Runs, radii: Floats) -> list[tuple[float, float]]:
    """Return the share of examples whose nearest wrong input lies beyond each radius."""
    return _share(nearest_distances(runs), radii)


def _certified(runs: Runs) -> list[Floats]:
    """Return the certified radii of each seed; those of all attacks are of one network."""
    found = {seed: one.radii for outcomes in runs.values() for seed, one in outcomes.items()}
    return [one for one in found.values() if one is not None]


def _share(distances: Sequence[Floats], radii: Floats) -> list[tuple[float, float]]:
    """Return the share of examples beyond each radius, mean over seeds."""
    if not distances:
        return []
    left = np.mean([[np.mean(one > radius) for radius in radii] for one in distances], axis=0)
    return list(zip(radii.tolist(), left.tolist(), strict=True))
