"""Confidence intervals and paired tests.

Closed forms where they exist; resampling over images where the pixels of an image are correlated.
Every random function takes a seed and gives equal results on every machine: resampled sums are sums
of whole numbers, so they are exact in float64 in any order of addition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri

LEVEL = 0.95
"""Confidence level of every interval that the judge reports."""

DRAWS = 1000
"""Number of resamples of a bootstrap and of a permutation test."""

_CHUNK = 4_000_000  # numbers held at once while resampling (32 MB)

Bits = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A two-sided interval, ``lo <= hi``."""

    lo: float
    hi: float


def _z(level: float) -> float:
    return float(ndtri((1 + level) / 2))


def wilson(k: float, n: int, level: float = LEVEL) -> Interval:
    """Compute Wilson's score interval of a rate, without continuity correction (Wilson 1927).

    With ``p = k / n``: ``(p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)``.

    Args:
        k: successes, ``0 <= k <= n``; a mean of counts need not be whole.
        n: trials, at least 1.
        level: confidence level in (0, 1).

    >>> [round(end, 4) for end in wilson(490, 500)]
    [0.9636, 0.9891]
    >>> wilson(0, 10).lo, wilson(10, 10).hi
    (0.0, 1.0)
    """
    if not 0 <= k <= n or n < 1:
        raise ValueError(f"a rate needs 0 <= k <= n and n >= 1, got k={k}, n={n}")
    z2 = _z(level) ** 2
    p = k / n
    middle = p + z2 / (2 * n)
    half = math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n)))
    scale = 1 + z2 / n
    # The ends are exact at k = 0 and k = n; rounding would move them slightly off 0 and 1.
    return Interval(
        0.0 if k == 0 else (middle - half) / scale,
        1.0 if k == n else (middle + half) / scale,
    )


def paired_difference(
    both: int, first: int, second: int, neither: int, level: float = LEVEL
) -> Interval:
    """Compute an interval of ``p1 − p2`` for two rates over the same examples.

    Newcombe 1998 (Statistics in Medicine 17, 2635), method 10: Wilson limits of both rates, squared
    and added, with the correlation of the two outcomes corrected for continuity.

    Args:
        both: examples where both outcomes are true.
        first: examples where only the first is true.
        second: examples where only the second is true.
        neither: examples where none is true.
        level: confidence level in (0, 1).

    >>> [round(end, 4) for end in paired_difference(36, 12, 2, 0)]
    [0.0569, 0.3404]
    """
    n = both + first + second + neither
    k1, k2 = both + first, both + second
    (l1, u1), (l2, u2) = wilson(k1, n, level), wilson(k2, n, level)
    p1, p2 = k1 / n, k2 / n
    spread = k1 * (n - k1) * k2 * (n - k2)
    excess: float = both * neither - first * second
    if excess > 0:
        excess = max(excess - n / 2, 0)
    phi = excess / math.sqrt(spread) if spread else 0.0

    def margin(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))

    return Interval(p1 - p2 - margin(p1 - l1, u2 - p2), p1 - p2 + margin(u1 - p1, p2 - l2))


def auc_interval(auc: float, positives: int, negatives: int, level: float = LEVEL) -> Interval:
    """Compute the score interval of an area under the ROC curve.

    Newcombe 2006 (Statistics in Medicine 25, 559), method 5: the θ with ``|θ − auc| = z √V(θ)``,
    ``V = θ(1−θ) / mn · (1 + s((1−θ)/(2−θ) + θ/(1+θ)))`` and ``s = (m + n)/2 − 1``. Like Wilson's,
    it has a width even where every pair of examples is in the right order.

    Args:
        auc: in [0, 1].
        positives: m >= 1.
        negatives: n >= 1.
        level: confidence level in (0, 1).

    >>> [round(end, 3) for end in auc_interval(1.0, 20, 20)]
    [0.899, 1.0]
    """
    z2 = _z(level) ** 2
    s = (positives + negatives) / 2 - 1

    def variance(t: float) -> float:
        shape = 1 + s * ((1 - t) / (2 - t) + t / (1 + t))
        return t * (1 - t) / (positives * negatives) * shape

    def lower(at: float) -> float:
        below, above = 0.0, at
        for _ in range(60):
            middle = (below + above) / 2
            if (middle - at) ** 2 > z2 * variance(middle):
                below = middle
            else:
                above = middle
        return above

    # V(θ) = V(1 − θ), so the upper end is the lower end of the mirrored area.
    return Interval(lower(auc), 1 - lower(1 - auc))


def mcnemar_exact(a: Bits, b: Bits) -> float:
    """Run the two-sided exact McNemar test of a difference of two outcomes over the same examples.

    The examples where only one outcome is true are fair coin flips under the null hypothesis.

    Args:
        a: bool ``[N]``.
        b: bool ``[N]``, the same examples.

    Returns:
        p in (0, 1]; 1 where the outcomes never differ.

    >>> mcnemar_exact(np.array([1, 1, 1, 1, 1, 1], bool), np.array([0, 0, 0, 0, 0, 1], bool))
    0.0625
    """
    if a.shape != b.shape:
        raise ValueError(f"paired outcomes of different shapes: {a.shape} and {b.shape}")
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's step-down method, which bounds the family-wise error rate.

    Args:
        p: p-values in any order.

    Returns:
        Adjusted p-values in the same order, at most 1.

    >>> [round(q, 3) for q in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p)
    worst = 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        worst = max(worst, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = worst
    return adjusted


def bootstrap(stats: Floats, draws: int = DRAWS, seed: int = 0) -> Floats:
    """Draw images with replacement and sum their counts.

    Figures of pooled counts (IoU, pixel accuracy, differences of such) are then computed once for
    all draws. Counts of two networks that are stacked side by side stay paired.

    Args:
        stats: ``[N, F]``, counts of each image; whole numbers below 2⁵³ give exact sums.
        draws: number of resamples D.
        seed: of the generator.

    Returns:
        ``[D, F]``, each row the sum over N images drawn with replacement.

    >>> bootstrap(np.ones((5, 1)), draws=3).ravel().tolist()
    [5.0, 5.0, 5.0]
    """
    n = len(stats)
    pooled = np.zeros((draws, stats.shape[1]))
    if n == 0:
        return pooled
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // n)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = generator.integers(n, size=(rows, n))
        drawn += n * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        pooled[start : start + rows] = times.astype(np.float64) @ stats
    return pooled


def percentile_interval(samples: Floats, level: float = LEVEL) -> Interval | None:
    """Compute the percentile interval of resampled values; undefined ones (NaN) are left out.

    Args:
        samples: ``[D]``.
        level: confidence level in (0, 1).

    Returns:
        The interval, or ``None`` when no resample is defined.
    """
    defined = samples[~np.isnan(samples)]
    if not len(defined):
        return None
    lo, hi = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(lo), float(hi))


def paired_permutation(
    a: Floats,
    b: Floats,
    score: Callable[[Floats], Floats],
    draws: int = DRAWS,
    seed: int = 0,
) -> float:
    """Run a two-sided permutation test of ``score(sum of a) = score(sum of b)``, paired by image.

    Under the null hypothesis, the two networks' counts of an image are exchangeable.

    Args:
        a: ``[N, F]``, counts of each image under the first network.
        b: under the second.
        score: function from pooled counts ``[D, F]`` to values ``[D]``.
        draws: number of random exchanges D.
        seed: of the generator.

    Returns:
        p = (1 + exchanges at least as far apart) / (1 + D), never 0; undefined counts as far apart.
    """
    if a.shape != b.shape:
        raise ValueError(f"paired counts of different shapes: {a.shape} and {b.shape}")
    total = (a + b).sum(axis=0)

    def distance(first: Floats) -> Floats:
        return np.abs(score(first) - score(total - first))

    observed = float(distance(a.sum(axis=0, keepdims=True))[0])
    generator = np.random.default_rng(seed)
    extreme = 0
    step = max(1, _CHUNK // max(len(a), 1))
    for start in range(0, draws, step):
        swap = generator.integers(2, size=(min(step, draws - start), len(a))).astype(np.float64)
        # The tolerance counts exchanges that equal the observation up to rounding.
        extreme += int(np.sum(~(distance(a.sum(axis=0) + swap @ (b - a)) < observed - 1e-12)))
    return (1 + extreme) / (1 + draws)
