"""Statistics of codebooks: entropy, distances, rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .codebooks import Array, distances


@dataclass(frozen=True)
class Statistics:
    """Figures of a codebook.

    Attributes:
        bits: Shannon entropy of a label's values, rounded to 6 decimals, mean over classes.
        low: smallest RMS distance over cells of two labels.
        median: median of these distances.
        high: largest of them.
        rank: effective rank, the exponential of the entropy of the squared singular values of the
            centred codebook, from 1 (points on a line) to K - 1.
    """

    bits: float
    low: float
    median: float
    high: float
    rank: float


def describe(codebook: Array) -> Statistics:
    """Return the statistics of a codebook ``[K, …]``."""
    flat, apart = codebook.reshape(len(codebook), -1), distances(codebook)
    power = np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False) ** 2
    return Statistics(
        float(np.mean([entropy(counts(label)) for label in flat])),
        float(apart.min()),
        float(np.median(apart)),
        float(apart.max()),
        2 ** entropy(power),
    )


def counts(label: Array) -> Array:
    """Return how often each value stands in a label."""
    return np.unique(label.round(6), return_counts=True)[1].astype(np.float64)


def entropy(weights: Array) -> float:
    """Return the Shannon entropy of weights as shares, in bits."""
    share = weights / weights.sum()
    share = share[share > 1e-15]
    return float(-(share * np.log2(share)).sum()) + 0.0
