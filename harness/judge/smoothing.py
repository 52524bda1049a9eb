"""Judge of smoothed networks: predictions and certified radii, from votes on noisy copies.

Randomised smoothing (Cohen, Rosenfeld and Kolter 2019): where a class gets a share of at least
p > 1/2 of the votes under Gaussian noise of standard deviation σ, no change of Euclidean length
below σ Φ⁻¹(p) takes the most votes from it. Votes are counted on a sample, so that p is a lower
bound that holds with probability 1 − α.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, betaincinv, ndtr, ndtri

from harness.judge.outcomes import share
from harness.judge.values import Absent, Metrics, with_interval

Counts = NDArray[np.integer]
Floats = NDArray[np.float64]
Bits = NDArray[np.bool_]
Integers = NDArray[np.int64]

AVERAGE = "average_certified_radius"
CERTIFIED = "certified_accuracy"
CHANCE = 1e-3
"""Largest probability with which honest certificates are said to be contradicted."""


class Certificates(NamedTuple):
    """Certified classes and radii of examples.

    Attributes:
        classes: certified class, int64 ``[N]``; −1 where the certificate abstains.
        radii: L2 radius within which the class keeps the most votes, ``[N]``; 0 where it abstains.
    """

    classes: Integers
    radii: Floats


class Setting(NamedTuple):
    """Setting of votes.

    Attributes:
        noise: standard deviation σ of the noise, in units of [0, 1] inputs.
        draws: copies that are counted.
        alpha: probability with which a certificate may be wrong.
    """

    noise: float
    draws: int
    alpha: float


def predict(counts: Counts, draws: int, alpha: float) -> Floats:
    """Return the logarithm of each class's share; NaN in the rows of inputs without a prediction.

    So they are logits whose softmax is the share of the votes. No vote counts as half a vote.

    A prediction abstains where two classes could have got as many votes: where an exact two-sided
    binomial test of the two with most votes does not reject one half at the level α (``Predict`` of
    the paper). Answers that were not finite count as votes for a class that is always wrong.

    Args:
        counts: votes of each class ``[N, K]``.
        draws: number of copies; those without a finite answer are in no count.
        alpha: level of the test, in (0, 1).

    >>> np.exp(predict(np.array([[60, 40], [90, 10]]), 100, 0.001)).round(6).tolist()
    [[nan, nan], [0.9, 0.1]]
    """
    lost = draws - counts.sum(axis=1)
    top = np.sort(np.column_stack((counts, lost)), axis=1)[:, ::-1]
    first, two = top[:, 0], top[:, :2].sum(axis=1)
    p = np.minimum(1.0, 2 * at_least(first, two))
    found: Floats = np.log(np.maximum(counts, 0.5) / draws)
    found[(p > alpha) | (lost == first)] = np.nan
    return found


def at_least(k: Counts, n: Counts) -> Floats:
    """Return the probability of at least k of n fair coins."""
    return np.where(k > 0, bdtrc(np.maximum(k - 1, 0), np.maximum(n, 1), 0.5), 1.0)


def lower_bound(k: Counts, n: int, alpha: float) -> Floats:
    """Return the exact one-sided lower bound of a share (Clopper and Pearson 1934).

    Args:
        k: successes, ``[N]``.
        n: trials.
        alpha: probability with which the share may be smaller.

    >>> lower_bound(np.array([100, 0]), 100, 0.001).round(6).tolist()
    [0.933254, 0.0]
    """
    some = np.maximum(k, 1)
    return np.where(k > 0, betaincinv(some, n - some + 1, alpha), 0.0)


def certify(
    selection: Counts, counts: Counts, draws: int, *, noise: float, alpha: float
) -> Certificates:
    """Return what the votes certify (``Certify`` of the paper).

    Args:
        selection: votes ``[N, K]`` that choose the class.
        counts: votes ``[N, K]`` of other copies, which bound its share.
        draws: number of these copies; those without a finite answer are in no count.
        noise: standard deviation σ of the noise.
        alpha: probability with which a certificate may be wrong.
    """
    chosen = selection.argmax(axis=1)
    own = counts[np.arange(len(counts)), chosen]
    share = lower_bound(own, draws, alpha)
    held = share > 0.5
    radii = np.where(held, noise * ndtri(np.where(held, share, 0.5)), 0.0)
    return Certificates(np.where(held, chosen, -1).astype(np.int64), radii)


def certified_radii(found: Certificates, y: Integers) -> Floats:
    """Return the radius within which each example is certified to be right, 0 without one.

    An abstention is a miss, and so is a certificate of a wrong class.

    >>> certified_radii(Certificates(np.array([1, 0, -1]), np.array([0.5, 0.5, 0])), np.ones(3))
    array([0.5, 0. , 0. ])
    """
    return np.where(found.classes == y, found.radii, 0.0)


def certified_figures(radii: Floats, eps: float | None) -> Metrics:
    """Return the mean certified radius, and the share of examples certified at a radius.

    Args:
        radii: of ``certified_radii``, ``[N]``.
        eps: radius of the budget in L2, or ``None`` where it has none.
    """
    if not len(radii):
        return {AVERAGE: Absent("the slice is empty")}
    figures: Metrics = {AVERAGE: with_interval(float(radii.mean()), None, "bootstrap")}
    return figures if eps is None else figures | {CERTIFIED: share(radii > eps)}


def too_few(certified: Floats, lengths: Floats, own: Counts, setting: Setting) -> tuple[Bits, Bits]:
    """Return which certificates an attack contradicts, and which it could.

    Where a class has at least the share p of the votes, it keeps at least Φ(Φ⁻¹(p) − δ/σ) of them
    after a change of length δ (the theorem's bound, within and beyond its radius). A certificate is
    contradicted by a count that such a share gives with a probability of at most α.

    Args:
        certified: certified radii σ Φ⁻¹(p), ``[N]``; 0 without one.
        lengths: L2 norm of each change, ``[N]``.
        own: votes of the certified class on the changed input, ``[N]``.
        setting: the votes' setting.

    >>> few = too_few(np.full(4, 0.5), np.array([0, 0.4, 0.4, 9]), np.array([977, 640, 400, 0]),
    ...               Setting(0.25, 1000, 0.001))
    >>> few[0].tolist(), few[1].tolist()
    ([False, False, True, False], [True, True, True, False])
    """
    least = ndtr((certified - lengths) / setting.noise)
    could = (certified > 0) & (bdtr(0, setting.draws, least) <= setting.alpha)
    return could & (bdtr(own, setting.draws, least) <= setting.alpha), could


def contradiction(few: Bits, could: Bits, alpha: float) -> str:
    """Return a sentence where more certificates are contradicted than chance allows; else ``""``.

    Each certificate may be wrong with the probability α, and so may each count.

    >>> some = np.arange(500) < 9
    >>> contradiction(some, some | True, 0.001)[:33]
    '9 of 500 examples keep fewer vote'
    """
    count, tested = int(few.sum()), int(could.sum())
    if not count or bdtrc(count - 1, tested, min(1.0, 2 * alpha)) > CHANCE:
        return ""
    return (
        f"{count} of {tested} examples keep fewer votes under attack than their certificates "
        "promise at that distance: the votes depend on more than the single noisy copy"
    )
