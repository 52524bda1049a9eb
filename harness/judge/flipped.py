"""Judge of flipped comparisons: their margins under the clean ranker, and the fit to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.judge.ranking import Integers, Outputs, decisions, signs
from harness.judge.values import Metrics, proportion, with_interval

Bits = NDArray[np.bool_]
Floats = NDArray[np.float64]

BINS = 40
"""Number of bins of each histogram of decision values, over a range symmetric around 0."""

NO_FLIP = "no comparison was edited"


@dataclass(frozen=True)
class Flipped:
    """Figures of a ranking's edited training set.

    Attributes:
        metrics: ``poison_fit``: edited training set's comparisons that the ranker trained on them
            gets right; ``flips_wrong``: flipped ones that the clean ranker had wrong; and
            ``flip_margin``: mean |decision| of the clean ranker on flipped ones.
        flipped: bool ``[n]``, the ``flip_mask`` of the training comparisons.
        decisions: float64 ``[k]``, the clean ranker's decision value of each edited one, before
            the edit, in row order.
        edges: float64 ``[BINS + 1]``, edges of the histograms below, which count the clean ranker's
            finite decision values.
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
    """Comparisons, and the outputs of two rankers for their items.

    Attributes:
        y: comparisons ``[n, arity + 2]``.
        clean: outputs of the clean ranker for each item.
        attacked: outputs of the attacked ranker for each item.
    """

    y: Integers
    clean: Outputs
    attacked: Outputs


def judge_flips(train: Comparisons, edited: Integers, test: Comparisons) -> Flipped:
    """Judge the edits of a training set of comparisons.

    Args:
        train: the training set before the edits.
        edited: its comparisons after the edits, ``[n, arity + 2]``.
        test: the eval subset.

    >>> scores = np.array([[0.0], [1.0], [3.0]])
    >>> y = np.array([[1, 0, 1, 0], [2, 0, 1, 0]])
    >>> found = judge_flips(Comparisons(y, scores, -scores), y * [[1, 1, 1, 1], [1, 1, -1, 1]],
    ...                     Comparisons(y, scores, -scores))
    >>> found.decisions.tolist(), found.metrics["poison_fit"].value, int(found.attacked.sum())
    ([3.0], 0.5, 2)
    """
    mask = flip_mask(train.y, edited)
    value = decisions(train.clean, train.y)
    right = signs(value) == train.y[:, -2]
    margins = np.abs(value[mask])
    fits = signs(decisions(train.attacked, edited)) == edited[:, -2]
    metrics = {
        "poison_fit": proportion(int(fits.sum()), len(fits), "there is no training comparison"),
        "flips_wrong": proportion(int((~right & mask).sum()), int(mask.sum()), NO_FLIP),
    }
    if len(margins) and np.isfinite(margins).all():
        metrics["flip_margin"] = with_interval(float(margins.mean()), None, "mean")
    before = decisions(test.clean, test.y)
    first = signs(before) == test.y[:, -2]
    last = signs(decisions(test.attacked, test.y)) == test.y[:, -2]
    edges = _edges(value, before)
    return Flipped(
        metrics=metrics,
        flipped=mask,
        decisions=value[mask],
        edges=edges,
        train=_histogram(value, edges),
        edits=_histogram(value[mask], edges),
        wrong=_histogram(before[~first], edges),
        attacked=_histogram(before[first & ~last], edges),
    )


def flip_mask(before: Integers, after: Integers) -> Bits:
    """Return a mask of flipped comparisons: label negated or items swapped, but not both.

    Args:
        before: int64 ``[n, arity + 2]``.
        after: the same comparisons after the edits, row by row.

    >>> flip_mask(np.array([[0, 1, 1, 0]] * 3),
    ...           np.array([[0, 1, -1, 0], [1, 0, 1, 0], [1, 0, -1, 0]]))
    array([ True,  True, False])
    """
    negated = before[:, -2] != after[:, -2]
    swapped = (before[:, -4:-2] != after[:, -4:-2]).any(axis=1)
    return np.asarray(negated ^ swapped)


def _edges(*values: Floats) -> Floats:
    """Return bin edges that cover all finite values; the outermost has two digits."""
    finite = np.concatenate(values)
    most = float(np.abs(finite[np.isfinite(finite)]).max(initial=0.0)) or 1.0
    step = 10.0 ** np.floor(np.log10(most) - 1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        end = float(np.ceil(most / step) * step)
    # Rounding to two digits may end below the largest value, or overflow near the end of float64.
    return np.linspace(-1, 1, BINS + 1) * (max(end, most) if np.isfinite(end) else most)


def _histogram(values: Floats, edges: Floats) -> Integers:
    return np.histogram(values[np.isfinite(values)], edges)[0].astype(np.int64)
