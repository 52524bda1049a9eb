"""Comparison of two sets of draws of a random network: what an attack was given, what is judged.

Both are draws of one distribution where the network answers alike. Their difference is an energy
distance (Székely and Rizzo 2013): twice the mean distance between a draw of one set and one of the
other, less the mean distances within both. It is 0 on average for equal distributions, and above 0
for any that differ, in the place or in the spread. Whole draws are exchanged in the test of it, so
that it holds for networks, too, that draw once for a whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.judge.traits import CLASSIFICATION, SEGMENTATION

Array = NDArray[np.generic]
Floats = NDArray[np.float64]

FEWEST_WAYS = 1000
"""Fewest ways to divide all draws in two sets like these; with fewer, chance is not ruled out.
8 and 5 draws, the default, can be divided in 1,287."""
MOST_WAYS = 20_000
"""Most divisions that are all tried; of more, as many are drawn at random."""
LEVEL = 1e-3
"""Largest share of the divisions that may be as far apart as the observed one: with the default
draws, none but itself. All cheats of ``flags.EXCESS`` are there in every run; of honest networks
one measure in 1,287 is by chance, and its excess is too small unless it draws for whole batches."""
MOST_PIXELS = 2**21
"""Most pixels of one draw that are compared."""


DRAWN = {"predictions": ("in", " of the predictions"), "outputs": ("by", " of the outputs' range")}
"""What is compared over draws → the words before and after its figure."""


class Distance(NamedTuple):
    """Measure of how far two answers are apart.

    Attributes:
        name: what is compared, for readers.
        measure: function of two draws that returns a mean over examples, in [0, 1].
    """

    name: str
    measure: Callable[[Array, Array], float]


class DrawDifference(NamedTuple):
    """Difference of two sets of draws in one measure.

    Attributes:
        name: what is compared, ``predictions`` or ``outputs``.
        shown: mean distance between two answers that the attack was given.
        judged: mean distance between two answers that were judged.
        across: mean distance between one of each.
        p: share of all divisions of the draws that are at least as far apart.
    """

    name: str
    shown: float
    judged: float
    across: float
    p: float

    @property
    def excess(self) -> float:
        """Distance between the sets beyond that within them."""
        return self.across - (self.shown + self.judged) / 2


def compare_draws(shown: Array, judged: Array, task: str) -> list[DrawDifference] | None:
    """Compare the answers to an attack with those that are judged, to the same inputs.

    Args:
        shown: stored outputs of S draws, ``[S, N, …]``: logits, class maps, or a ranker's outputs.
        judged: of T draws, ``[T, N, …]``.
        task: ``classification``, ``segmentation`` or ``ranking``.

    Returns:
        A difference for each measure of the task, or ``None`` where there are no examples or too
        few draws.
    """
    if shown.shape[1:] != judged.shape[1:]:
        raise ValueError(f"outputs of different shapes: {shown.shape} and {judged.shape}")
    if min(len(shown), len(judged)) < 2 or shown.size == 0:
        return None
    if math.comb(len(shown) + len(judged), len(judged)) < FEWEST_WAYS:
        return None
    draws = [*shown, *judged]
    return [
        compare(distances(draws, one.measure), len(shown), one.name)
        for one in measures(judged, task)
    ]


def measures(judged: Array, task: str) -> list[Distance]:
    """Return the measures of a task; outputs are compared in parts of their usual range."""
    if task == SEGMENTATION:
        step = max(1, judged[0].size // MOST_PIXELS)
        return [
            Distance("predictions", lambda a, b: float(np.mean(a.flat[::step] != b.flat[::step])))
        ]
    scale = usual_range(judged)
    moved = Distance("outputs", lambda a, b: float(np.mean(rows_apart(a, b, scale))))
    if task != CLASSIFICATION:
        return [moved]
    return [Distance("predictions", lambda a, b: float(np.mean(classes_apart(a, b)))), moved]


def usual_range(outputs: Array) -> float:
    """Return the median over rows of the range of their outputs; of single outputs, over all rows.

    A few huge outputs must not make all others look equal.
    """
    rows = outputs.reshape(-1, outputs.shape[-1]).astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        return 0.0
    if rows.shape[1] == 1:
        return float(np.ptp(np.percentile(rows, [1, 99])))
    return float(np.median(np.ptp(rows, axis=1)))


def rows_apart(first: Array, second: Array, scale: float) -> Floats:
    """Return the largest difference of each row's outputs in parts of the scale, at most 1.

    A row that is not finite equals only another that is not.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    sound, sound_too = np.isfinite(a).all(axis=1), np.isfinite(b).all(axis=1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        apart = np.abs(a - b).max(axis=1) / scale
    apart = np.where(np.isnan(apart), 0.0, np.minimum(apart, 1.0))
    return np.where(sound & sound_too, apart, sound != sound_too)


def classes_apart(first: Array, second: Array) -> NDArray[np.bool_]:
    """Return which rows have another class; one that is not finite has a class of its own."""
    a, b = (
        np.where(np.isfinite(x.astype(np.float64)).all(axis=1), x.argmax(axis=1), -1)
        for x in (first, second)
    )
    return np.asarray(a != b)


def distances(draws: list[Array], measure: Callable[[Array, Array], float]) -> Floats:
    """Return the distances of all pairs of draws, ``[T, T]``."""
    found = np.zeros((len(draws), len(draws)))
    for a, b in combinations(range(len(draws)), 2):
        found[a, b] = found[b, a] = measure(draws[a], draws[b])
    return found


def compare(apart: Floats, shown: int, name: str) -> DrawDifference:
    """Compare two sets of draws by the distances of all pairs.

    Args:
        apart: ``[T, T]``, the first set first.
        shown: number of draws in the first set.
        name: what is compared.

    >>> apart = 1.0 - np.kron(np.eye(2), np.ones((6, 6)))
    >>> found = compare(apart, 6, "predictions")
    >>> found.excess, round(found.p * 924)
    (1.0, 2)
    """
    within, within_too, across = (
        float(one[0]) for one in mean_distances(apart, first_of(apart, shown))
    )
    observed = 2 * across - within - within_too
    a, b, c = mean_distances(apart, divisions(len(apart), shown))
    # the tolerance counts divisions that equal the observed one up to rounding
    p = float(np.mean(2 * c - a - b >= observed - 1e-12))
    return DrawDifference(name, within, within_too, across, p)


def first_of(apart: Floats, shown: int) -> Floats:
    """Return the observed division, as ``divisions`` does."""
    return (np.arange(len(apart)) < shown).astype(np.float64)[None]


def divisions(draws: int, size: int) -> Floats:
    """Return ways to divide the draws: rows of 0 and 1 with ``size`` ones, ``[W, T]``.

    All of them, or as many as ``MOST_WAYS`` at random, and the observed one.
    """
    if math.comb(draws, size) <= MOST_WAYS:
        chosen = np.array(list(combinations(range(draws), size)))
    else:
        generator = np.random.default_rng(0)
        order = generator.random((MOST_WAYS, draws)).argsort(axis=1)
        chosen = np.vstack([np.arange(size), order[:, :size]])
    found = np.zeros((len(chosen), draws))
    np.put_along_axis(found, chosen, 1.0, axis=1)
    return found


def mean_distances(apart: Floats, first: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mean distances within the first set, within the second, and between them.

    Args:
        apart: ``[T, T]``.
        first: rows of 0 and 1, ``[W, T]``: which draws are in the first set.
    """
    second = 1 - first
    sizes, sizes_too = first.sum(axis=1), second.sum(axis=1)
    to_first, to_second = first @ apart, second @ apart
    return (
        (to_first * first).sum(axis=1) / (sizes * (sizes - 1)),
        (to_second * second).sum(axis=1) / (sizes_too * (sizes_too - 1)),
        (to_first * second).sum(axis=1) / (sizes * sizes_too),
    )


def describe_difference(found: DrawDifference) -> str:
    """Return how two sets of draws differ, in words."""
    what, where = DRAWN[found.name]
    return (
        f"two draws of an answer to a final input differ {what} {found.shown:.1%}{where} where the "
        f"attack was given both, {found.judged:.1%} where both are judged and {found.across:.1%} "
        f"between the two, which draws do not explain (p = {found.p:.2g})"
    )
