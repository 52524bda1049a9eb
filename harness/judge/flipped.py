"""Edited comparisons: how far an attack's flips lie from the clean ranker, and who learns them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.judge.ranking import Integers, Outputs, decisions, signs
from harness.judge.values import Metrics, proportion, with_interval

Bits = NDArray[np.bool_]
Floats = NDArray[np.float64]

BINS = 40
"""Bins of every histogram of decision values, over a range that is even around 0."""

NO_FLIP = "no comparison was edited"


@dataclass(frozen=True)
class Flipped:
    """What is judged of a ranking's edited training set.

    Attributes:
        metrics: ``poison_fit``: training comparisons, as edited, that the ranker trained on them
            gets right; ``flips_wrong``: edited ones that the clean ranker had wrong; and
            ``flip_margin``: mean |decision| of the clean ranker on edited ones.
        flipped: bool ``[n]``, which training comparisons were ``turned``.
        decisions: float64 ``[k]``, the clean ranker's decision value of each edited one, before
            the edit, in row order.
        edges: float64 ``[BINS + 1]``, of the bins below; each counts exact decision values of the
            clean ranker, and none that is not finite.
        train: int64 ``[BINS]``, all training comparisons.
        edits: int64 ``[BINS]``, the edited ones among them.
        wrong: int64 ``[BINS]``, test comparisons that the clean ranker has wrong.
        attacked: int64 ``[BINS]``, test comparisons that it has right and the attacked ranker has
            wrong.
    """

    metrics: Metrics
    flipped: Bits
    decisions: Floats
    edges: Floats
    train: Integers
    edits: Integers
    wrong: Integers
    attacked: Integers


@dataclass(frozen=True)
class Comparisons:
    """Comparisons ``y`` ``[n, arity + 2]``, and outputs per item of the rankers that see them."""

    y: Integers
    clean: Outputs
    attacked: Outputs


def flipped(train: Comparisons, edited: Integers, test: Comparisons) -> Flipped:
    """Judge the edits of a training set of comparisons.

    Args:
        train: the training set before the edits, its items scored by the clean and by the attacked
            ranker. edited: the same rows after the edits, ``[n, arity + 2]``.
        test: the slice, scored by the same two.

    >>> scores = np.array([[0.0], [1.0], [3.0]])
    >>> y = np.array([[1, 0, 1, 0], [2, 0, 1, 0]])
    >>> found = flipped(Comparisons(y, scores, -scores), y * [[1, 1, 1, 1], [1, 1, -1, 1]],
    ...                 Comparisons(y, scores, -scores))
    >>> found.decisions.tolist(), found.metrics["poison_fit"].value, int(found.attacked.sum())
    ([3.0], 0.5, 2)
    """
    bits = turned(train.y, edited)
    value = decisions(train.clean, train.y)
    right = signs(value) == train.y[:, -2]
    margins = np.abs(value[bits])
    fits = signs(decisions(train.attacked, edited)) == edited[:, -2]
    metrics = {
        "poison_fit": proportion(int(fits.sum()), len(fits), "there is no training comparison"),
        "flips_wrong": proportion(int((~right & bits).sum()), int(bits.sum()), NO_FLIP),
    }
    if len(margins) and np.isfinite(margins).all():
        metrics["flip_margin"] = with_interval(float(margins.mean()), None, "mean")
    before = decisions(test.clean, test.y)
    first = signs(before) == test.y[:, -2]
    last = signs(decisions(test.attacked, test.y)) == test.y[:, -2]
    edges = _edges(value, before)
    return Flipped(
        metrics=metrics,
        flipped=bits,
        decisions=value[bits],
        edges=edges,
        train=_counts(value, edges),
        edits=_counts(value[bits], edges),
        wrong=_counts(before[~first], edges),
        attacked=_counts(before[first & ~last], edges),
    )


def turned(before: Integers, after: Integers) -> Bits:
    """Which judgements differ: the label negated or the compared items swapped, but not both.

    Args:
        before, after: int64 ``[n, arity + 2]``, row by row the same comparison.

    >>> turned(np.array([[0, 1, 1, 0]] * 3), np.array([[0, 1, -1, 0], [1, 0, 1, 0], [1, 0, -1, 0]]))
    array([ True,  True, False])
    """
    negated = before[:, -2] != after[:, -2]
    swapped = (before[:, -4:-2] != after[:, -4:-2]).any(axis=1)
    return np.asarray(negated ^ swapped)


def _edges(*values: Floats) -> Floats:
    """Edges over all finite values, the outermost a number of two digits."""
    finite = np.concatenate(values)
    most = float(np.abs(finite[np.isfinite(finite)]).max(initial=0.0)) or 1.0
    step = 10.0 ** np.floor(np.log10(most) - 1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        end = float(np.ceil(most / step) * step)
    # two digits may round below the largest value, and have no number near the ends of float64
    return np.linspace(-1, 1, BINS + 1) * (max(end, most) if np.isfinite(end) else most)


def _counts(values: Floats, edges: Floats) -> Integers:
    return np.histogram(values[np.isfinite(values)], edges)[0].astype(np.int64)
