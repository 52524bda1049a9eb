"""Which comparisons of a training set attacks flipped, as records hold it: of one victim."""

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
class Told:
    """One attack at one budget: figures of the judge, means over seeds; ``None`` where absent."""

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
    """How many edits two attacks, or one attack at two budgets, share.

    Attributes:
        share: edits of both over edits of either (Jaccard's index), mean over seeds.
    """

    first: tuple[str, str]
    second: tuple[str, str]
    share: float


@dataclass(frozen=True)
class Flips:
    """What attacks on one victim's training comparisons edited.

    Attributes:
        defense: whose cells tell it: the edits are the same for all of them.
        seed: whose flips the pictures show. told: by budget, then attack, as planned.
        overlaps: of attacks at each budget, and of budgets for each attack; controls have none.
    """

    j: int
    victim: str
    defense: str
    seed: int
    budgets: tuple[str, ...]
    attributes: tuple[str, ...]
    told: tuple[Told, ...]
    overlaps: tuple[Overlap, ...]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every two budgets."""
        return list(combinations(self.budgets, 2))

    def at(self, budget: str) -> list[Told]:
        """The attacks of one budget."""
        return [one for one in self.told if one.budget == budget]

    def between(self, first: tuple[str, str], second: tuple[str, str]) -> float | None:
        """The overlap of two (budget, attack) in any order."""
        return self._shares.get(frozenset((first, second)))

    @cached_property
    def _shares(self) -> dict[frozenset[tuple[str, str]], float]:
        return {frozenset((one.first, one.second)): one.share for one in self.overlaps}


FIGURES = ("accuracy", "clean_accuracy", "poison_fit", "flips_wrong", "flip_margin")


def flips(planned: Sequence[CellRow]) -> list[Flips]:
    """One value a victim whose records tell which comparisons were flipped."""
    victims = list(dict.fromkeys(line.victim for line in planned))
    found = []
    for j, victim in enumerate(victims):
        known = [
            (line, flip)
            for line in planned
            if line.victim == victim and line.status == "ok" and (flip := decode(line.record))
        ]
        if known:
            # the undefended ranker's: a sanitizer changes what is learned, not what was edited
            defense = min((line for line, _ in known), key=lambda line: not line.defense_control)
            of_it = [one for one in known if one[0].defense == defense.defense]
            found.append(_flips(j, victim, defense.defense, of_it))
    return found


def _flips(j: int, victim: str, defense: str, known: Sequence[tuple[CellRow, Flip]]) -> Flips:
    seed = min(line.seed for line, _ in known)
    groups: dict[tuple[str, str], list[CellRow]] = {}
    decoded = {}
    for line, flip in known:
        key = (line.budget, line.attack)
        groups.setdefault(key, []).append(line)
        decoded[key, line.seed] = flip
    told = tuple(
        _told(lines, decoded[key, min(line.seed for line in lines)])
        for key, lines in groups.items()
    )
    return Flips(
        j=j,
        victim=victim,
        defense=defense,
        seed=seed,
        budgets=tuple(dict.fromkeys(line.budget for line, _ in known)),
        attributes=known[0][1].attributes,
        told=told,
        overlaps=tuple(_overlaps(decoded)),
    )


def decode(record: Record | None) -> Flip | None:
    """A record's flips; ``None`` where it holds none or they cannot be read."""
    try:
        return unpack_flips(record.flips) if record and record.flips else None
    except ValueError:
        return None


def _told(lines: Sequence[CellRow], flip: Flip) -> Told:
    first = lines[0]
    records = [line.record for line in lines if line.record]
    return Told(
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
    """What two sets of rows share, of what is in either; ``None`` where one is empty.

    >>> jaccard(np.array([1, 2, 3]), np.array([2, 3, 4, 5]))
    0.4
    """
    if not len(first) or not len(second):
        return None
    both = len(np.intersect1d(first, second))
    return both / (len(first) + len(second) - both)
