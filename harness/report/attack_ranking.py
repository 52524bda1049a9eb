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
        at_cost = [one for _, one in known if one is not None]
        if known:
            result[attack] = AttackStanding(
                rank=places[attack].rank,
                last=places[attack].last,
                reach=plain.fmean(every for every, _ in known),
                reach_at_cost=plain.fmean(at_cost) if at_cost else None,
                passes=plain.fmean(_passes(draft, attack) for draft, _ in tables),
                seconds=plain.fmean(seconds) if seconds else None,
            )
    return result


def _taken(draft: Draft) -> Taken:
    """Return what each attack takes from one defence, mean over seeds."""
    tried = {cell.attack for cell in draft.attacks if cell.covered and not cell.broken}
    runs = {attack: draft.own[attack] for attack in tried if draft.own.get(attack)}
    measure = _nearness if draft.minimal else _broken_of(draft.headline.kept)
    taken: dict[str, list[Floats]] = {attack: [] for attack in runs}
    for seed in sorted({seed for each in runs.values() for seed in each}):
        outcomes = {attack: each[seed] for attack, each in runs.items() if seed in each}
        for attack, found in measure(outcomes).items():
            taken[attack].append(found)
    return {attack: _mean(found) for attack, found in taken.items() if found}


def _mean(rows: Sequence[Floats]) -> Floats:
    """Return the mean of each example over the rows that count it; NaN where none does."""
    stacked = np.stack(rows)
    counted = np.isfinite(stacked).sum(axis=0)
    return np.where(counted, np.nansum(stacked, axis=0) / np.maximum(counted, 1), np.nan)


def _broken_of(kept: str) -> Callable[[Mapping[str, Outcome]], Taken]:
    """Return the function that gives 1 for what is broken and 0 for what resists, of one seed."""

    def broken(outcomes: Mapping[str, Outcome]) -> Taken:
        found = {attack: one.bits for attack, one in outcomes.items()}
        if kept == "success":
            return {a: np.where(b["eligible"], b["success"], np.nan) for a, b in found.items()}
        return {a: np.where(b["before"], ~b["after"], np.nan) for a, b in found.items()}

    return broken


def _nearness(outcomes: Mapping[str, Outcome]) -> Taken:
    """Return 1 for a distance of 0, and 0 for the farthest one, of one seed.

    That is the largest among the nearest distances: there the envelope has broken all examples that
    any attack breaks.
    """
    known = {a: one.distances for a, one in outcomes.items() if one.distances is not None}
    if not known:
        return {}
    nearest = np.min(list(known.values()), axis=0)
    farthest = float(np.max(nearest, where=np.isfinite(nearest), initial=0.0))
    return {
        attack: np.where(
            outcomes[attack].bits["before"],
            1 - np.minimum(found, farthest) / farthest if farthest else 0.0,
            np.nan,
        )
        for attack, found in known.items()
    }


def _reach(draft: Draft, found: Taken, attack: str) -> tuple[float, float | None] | None:
    """Return an attack's reach on one defence, beside all attacks and beside those of its cost.

    The first is over the examples that count under every attack. ``None`` where no attack takes
    anything, and in its place where none of that cost does.
    """
    cost = SLACK * _passes(draft, attack)
    same = [other for other in found if _passes(draft, other) <= cost]
    counted = np.isfinite(list(found.values())).all(axis=0)
    every, at_cost = (
        float(np.max([found[a][counted] for a in names], axis=0, initial=0.0).sum())
        for names in (found, same)
    )
    own = float(found[attack][counted].sum())
    return (own / every, own / at_cost if at_cost else None) if every else None


def _passes(draft: Draft, attack: str) -> float:
    """Return the passes of an example through the network, both ways."""
    outcome = next(iter(draft.own[attack].values()))
    return draft.cells[attack].cost / max(1, outcome.size)
