"""Flipped comparisons of a training set, as records hold them: one value a victim."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from harness.report.cells import CellRow, Metric, Record
from harness.results.codec import Flip, unpack_flips

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class FlipRow:
    """One attack at one budget.

    Attributes:
        budget: label of the budget.
        attack: label of the attack.
        is_control: whether the attack is a control.
        spent: share of the training comparisons that the budget lets it edit.
        figures: metric → mean over seeds, ``None`` where absent.
        parts: attribute → accuracy under the attack, mean over seeds.
        clean_parts: attribute → clean accuracy, mean over seeds.
        flip: the flips of the first seed.
    """

    budget: str
    attack: str
    is_control: bool
    spent: float
    figures: Mapping[str, float | None]
    parts: Mapping[int, float]
    clean_parts: Mapping[int, float]
    flip: Flip


@dataclass(frozen=True)
class Overlap:
    """Edits in common of two attacks, or of one attack at two budgets.

    Attributes:
        first: budget and attack.
        second: budget and attack.
        share: edits of both over edits of either (Jaccard index), mean over seeds.
    """

    first: tuple[str, str]
    second: tuple[str, str]
    share: float


@dataclass(frozen=True)
class Flips:
    """Edits of all attacks on one victim's training comparisons.

    Attributes:
        j: index of the victim on the page.
        victim: label of the victim.
        defense: the defence whose cells are read; the edits are the same for all defences.
        seed: the seed whose flips the pictures show.
        budgets: labels of the budgets.
        attributes: names of the attributes that are compared.
        rows: one row a budget and attack, as planned.
        overlaps: pairs of attacks at one budget, and pairs of budgets of one attack.
    """

    j: int
    victim: str
    defense: str
    seed: int
    budgets: tuple[str, ...]
    attributes: tuple[str, ...]
    rows: tuple[FlipRow, ...]
    overlaps: tuple[Overlap, ...]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of budgets."""
        return list(combinations(self.budgets, 2))

    def at(self, budget: str) -> list[FlipRow]:
        """Return the rows of one budget."""
        return [row for row in self.rows if row.budget == budget]

    def between(self, first: tuple[str, str], second: tuple[str, str]) -> float | None:
        """Return the share of two (budget, attack) in any order, ``None`` where it is unknown."""
        return self._shares.get(frozenset((first, second)))

    @cached_property
    def _shares(self) -> dict[frozenset[tuple[str, str]], float]:
        return {frozenset((pair.first, pair.second)): pair.share for pair in self.overlaps}


FIGURES = ("accuracy", "clean_accuracy", "poison_fit", "flips_wrong", "flip_margin")
"""Metrics of a row."""


def flips(planned: Sequence[CellRow]) -> list[Flips]:
    """Return one value for each victim whose records hold flips."""
    victims = list(dict.fromkeys(line.victim for line in planned))
    sections = []
    for j, victim in enumerate(victims):
        known = [
            (line, flip)
            for line in planned
            if line.victim == victim and line.status == "ok" and (flip := decode(line.record))
        ]
        if known:
            # The undefended ranker, if planned: a sanitizer acts after the edits, which stay equal.
            defense = min((line for line, _ in known), key=lambda line: not line.defense_control)
            own = [entry for entry in known if entry[0].defense == defense.defense]
            sections.append(_flips(j, victim, defense.defense, own))
    return sections


def _flips(j: int, victim: str, defense: str, known: Sequence[tuple[CellRow, Flip]]) -> Flips:
    seed = min(line.seed for line, _ in known)
    groups: dict[tuple[str, str], list[CellRow]] = {}
    decoded = {}
    for line, flip in known:
        key = (line.budget, line.attack)
        groups.setdefault(key, []).append(line)
        decoded[key, line.seed] = flip
    rows = tuple(
        _row(lines, decoded[key, min(line.seed for line in lines)]) for key, lines in groups.items()
    )
    return Flips(
        j=j,
        victim=victim,
        defense=defense,
        seed=seed,
        budgets=tuple(dict.fromkeys(line.budget for line, _ in known)),
        attributes=known[0][1].attributes,
        rows=rows,
        overlaps=tuple(_overlaps(decoded)),
    )


def decode(record: Record | None) -> Flip | None:
    """Return a record's flips; ``None`` where it holds none or they cannot be read."""
    try:
        return unpack_flips(record.flips) if record and record.flips else None
    except ValueError:
        return None


def _row(lines: Sequence[CellRow], flip: Flip) -> FlipRow:
    first = lines[0]
    records = [line.record for line in lines if line.record]
    return FlipRow(
        budget=first.budget,
        attack=first.attack,
        is_control=first.attack_control,
        spent=float(first.limits.get("edits") or 0.0),
        figures={name: _mean([record.metrics for record in records], name) for name in FIGURES},
        parts=_parts(records, "accuracy"),
        clean_parts=_parts(records, "clean_accuracy"),
        flip=flip,
    )


def _mean(figures: Sequence[Mapping[str, Metric]], name: str) -> float | None:
    values = [metrics[name].value for metrics in figures if name in metrics]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _parts(records: Sequence[Record], metric: str) -> dict[int, float]:
    parts = [record.parts for record in records]
    names = [name for name in parts[0] if name.startswith(f"{metric}[attr ")]
    means = {int(name[len(metric) + 6 : -1]): _mean(parts, name) for name in names}
    return {k: value for k, value in sorted(means.items()) if value is not None}


def _overlaps(
    decoded: Mapping[tuple[tuple[str, str], int], Flip],
) -> Iterator[Overlap]:
    keys = dict.fromkeys(key for key, _ in decoded)
    for first, second in combinations(keys, 2):
        if first[0] != second[0] and first[1] != second[1]:
            continue
        seeds = {seed for key, seed in decoded if key == first}
        seeds &= {seed for key, seed in decoded if key == second}
        shares = [
            share
            for seed in sorted(seeds)
            if (share := jaccard(decoded[first, seed].rows, decoded[second, seed].rows)) is not None
        ]
        if shares:
            yield Overlap(first, second, statistics.fmean(shares))


def jaccard(first: Counts, second: Counts) -> float | None:
    """Return the Jaccard index of two sets of rows; ``None`` where one is empty.

    >>> jaccard(np.array([1, 2, 3]), np.array([2, 3, 4, 5]))
    0.4
    """
    if not len(first) or not len(second):
        return None
    both = len(np.intersect1d(first, second))
    return both / (len(first) + len(second) - both)
