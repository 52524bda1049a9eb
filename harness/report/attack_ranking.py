"""Places of attacks: what each breaks, beside all attacks together and what it costs.

The measure is that of AttackBench (Cinà et al., AAAI 2025, "local optimality"): the area below the
lower envelope of the curves of robust accuracy over the radius. An attack's *reach* is the area
that it takes from the clean accuracy, as a share of what the envelope of all attacks takes. Under a
fixed radius the curve has one point, and reach is the share of the broken examples that it breaks.
"""

from __future__ import annotations

import statistics as plain
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from harness.report.drafts import Draft
from harness.report.paired_tests import standings
from harness.report.tables import AttackStanding
from harness.report.worst_case import Evidence, Floats, Outcome

SLACK = 1.05
"""Factor within which two attacks take as many passes."""

Taken = Mapping[str, Floats]
"""Attack → of each example how much it is taken from the defence, 0 to 1; NaN where it does not
count."""


def rank_attacks(drafts: Sequence[Draft]) -> dict[str, AttackStanding]:
    """Return attack → its place, for the attacks of a table whose examples are broken one by one.

    Attacks without a result on a defence on which others have one are not ranked, and neither are
    controls, ensembles of records, borrowed inputs, and attacks that fail by their own fault.

    Args:
        drafts: the defences of the table.
    """
    if not drafts or drafts[0].headline.rule != "joint":
        return {}
    tables = [(draft, found) for draft in drafts if (found := _taken(draft))]
    if not tables:
        return {}
    whole = [a for a in tables[0][1] if all(a in found for _, found in tables)]
    evidence = {
        attack: Evidence(robust=_mean([found[attack] for _, found in tables])) for attack in whole
    }
    places = standings(evidence)
    result = {}
    for attack in whole:
        cells = [draft.cells[attack] for draft, _ in tables]
        seconds = [cell.seconds for cell in cells if cell.seconds is not None]
        reaches = (_reach(draft, found, attack) for draft, found in tables)
        known = [one for one in reaches if one is not None]
        if known:
            result[attack] = AttackStanding(
                rank=places[attack].rank,
                last=places[attack].last,
                reach=plain.fmean(every for every, _ in known),
                reach_at_cost=plain.fmean(at_cost for _, at_cost in known),
                passes=plain.fmean(_passes(draft, attack) for draft, _ in tables),
                seconds=plain.fmean(seconds) if seconds else None,
            )
    return result


def _taken(draft: Draft) -> Taken:
    """Return what each attack takes from one defence, mean over seeds."""
    tried = {cell.attack for cell in draft.attacks if cell.covered and not cell.broken}
    runs = {attack: draft.own[attack] for attack in tried if draft.own.get(attack)}
    outcomes = [one for each in runs.values() for one in each.values()]
    distances = [one.distances for one in outcomes if one.distances is not None]
    measure: Callable[[Outcome], Floats] = _broken_of(draft.headline.kept)
    if distances and len(distances) == len(outcomes):
        measure = _nearness_of(distances)
    return {attack: _mean([measure(one) for one in each.values()]) for attack, each in runs.items()}


def _mean(rows: Sequence[Floats]) -> Floats:
    """Return the mean of each example over the rows that count it; NaN where none does."""
    stacked = np.stack(rows)
    counted = np.isfinite(stacked).sum(axis=0)
    return np.where(counted, np.nansum(stacked, axis=0) / np.maximum(counted, 1), np.nan)


def _broken_of(kept: str) -> Callable[[Outcome], Floats]:
    """Return the function that gives 1 for what is broken and 0 for what resists."""

    def broken(outcome: Outcome) -> Floats:
        bits = outcome.bits
        if kept == "success":
            return np.where(bits["eligible"], bits["success"], np.nan)
        return np.where(bits["before"], ~bits["after"], np.nan)

    return broken


def _nearness_of(distances: Sequence[Floats]) -> Callable[[Outcome], Floats]:
    """Return the function that gives 1 for a distance of 0, and 0 for the farthest one.

    That is the largest among the nearest distances: there the envelope has broken all examples.
    """
    nearest = np.min(distances, axis=0)
    finite = nearest[np.isfinite(nearest)]
    farthest = float(finite.max()) if len(finite) else 0.0

    def nearness(outcome: Outcome) -> Floats:
        assert outcome.distances is not None
        near = 1 - np.minimum(outcome.distances, farthest) / farthest if farthest else None
        return np.where(outcome.bits["before"], 0.0 if near is None else near, np.nan)

    return nearness


def _reach(draft: Draft, found: Taken, attack: str) -> tuple[float, float] | None:
    """Return an attack's reach on one defence, beside all attacks and beside those of its cost.

    ``None`` where no attack takes anything.
    """
    cost = SLACK * _passes(draft, attack)
    same = [other for other in found if _passes(draft, other) <= cost]
    every, at_cost = (
        float(np.nansum(np.max([found[a] for a in names], axis=0))) for names in (found, same)
    )
    own = float(np.nansum(found[attack]))
    return (own / every, own / at_cost if at_cost else 1.0) if every else None


def _passes(draft: Draft, attack: str) -> float:
    """Return the passes of an example through the network, both ways."""
    outcome = next(iter(draft.own[attack].values()))
    return draft.cells[attack].cost / outcome.size
