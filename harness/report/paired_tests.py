"""Paired tests between defences, or attacks, on the same examples, and the places that follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np

from harness.judge import metrics, statistics
from harness.report.worst_case import Evidence, Floats

ALPHA = 0.05
_DRAWS_A_PAIR = 40
_MOST_DRAWS = 20_000


@dataclass(frozen=True)
class Standing:
    """Place of one defence among those that are ranked.

    Attributes:
        rank: best place that it may have: 1 + the number of defences that are significantly better.
        last: worst place: all but the number of defences that are significantly worse.
        beaten_by: the defences that are significantly better, by name.
    """

    rank: int
    last: int
    beaten_by: tuple[str, ...]


def better(
    evidence: Mapping[str, Evidence], able: Container[str] | None = None
) -> dict[str, set[str]]:
    """Return defence → the defences that are significantly better, Holm-corrected over all pairs.

    An example counts for the defence that is robust on it in more seeds; with one seed this is
    McNemar's exact test. (Pooled bits would count an example three times for three seeds of one
    imported network.) Segmentation: a permutation test over images. Where ``able`` is given, only
    these are better than any.
    """
    names = list(evidence)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    draws = min(_MOST_DRAWS, max(statistics.DRAWS, _DRAWS_A_PAIR * len(pairs)))
    tested = [_test(evidence[a], evidence[b], draws) for a, b in pairs]
    beaten: dict[str, set[str]] = {name: set() for name in names}
    adjusted = statistics.holm([p for _, p in tested])
    for (a, b), (sign, _), p in zip(pairs, tested, adjusted, strict=True):
        if p < ALPHA and sign:
            winner, loser = (a, b) if sign > 0 else (b, a)
            if able is None or winner in able:
                beaten[loser].add(winner)
    return beaten


def standings(
    evidence: Mapping[str, Evidence], able: Container[str] | None = None
) -> dict[str, Standing]:
    """Return defence → its standing; see ``better``."""
    beaten = better(evidence, able)
    beats = Counter(winner for winners in beaten.values() for winner in winners)
    return {
        name: Standing(1 + len(winners), len(beaten) - beats[name], tuple(sorted(winners)))
        for name, winners in beaten.items()
    }


def significantly_better(a: Evidence, b: Evidence) -> bool:
    """Return whether the first is better than the second in one paired test."""
    sign, p = _test(a, b, statistics.DRAWS)
    return sign > 0 and p < ALPHA


def share_of_pixels(pooled: Floats) -> Floats:
    """Return resisting over asked pixels of pooled counts ``[D, 2]``; NaN where none is asked."""
    share: Floats = np.full(len(pooled), np.nan)
    np.divide(pooled[:, 0], pooled[:, 1], out=share, where=pooled[:, 1] > 0)
    return share


def _test(a: Evidence, b: Evidence, draws: int) -> tuple[int, float]:
    """Return which of the two is better (1: the first, −1: the second, 0: neither), and p."""
    if a.robust is not None and b.robust is not None and len(a.robust) == len(b.robust):
        both = np.isfinite(a.robust) & np.isfinite(b.robust)
        first, second = (a.robust > b.robust) & both, (b.robust > a.robust) & both
        return int(np.sign(int(first.sum()) - int(second.sum()))), statistics.mcnemar_exact(
            first, second
        )
    if a.pixels is not None and b.pixels is not None and len(a.pixels) == len(b.pixels):
        difference = float(
            share_of_pixels(a.pixels.sum(0)[None])[0] - share_of_pixels(b.pixels.sum(0)[None])[0]
        )
        return int(np.sign(difference)), statistics.paired_permutation(
            a.pixels, b.pixels, share_of_pixels, draws, 0
        )
    if a.counts is not None and b.counts is not None and a.counts.shape == b.counts.shape:
        found = metrics.miou_difference(a.counts, b.counts, draws=draws)
        return int(np.sign(found.value)), found.p
    return 0, 1.0
