"""Judge of ranking: figures and outcome bits from outputs per item and comparisons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.judge.outcomes import Bits, accuracy_figures, nonfinite_counts, share, share_of_right
from harness.judge.statistics import Interval, auc_interval, wilson
from harness.judge.values import Absent, Judged, Metrics, Rate, proportion, with_interval

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Outputs = NDArray[np.floating]


def decisions(outputs: Outputs, y: Integers) -> Floats:
    """Return the decision value of each comparison; the prediction is +1 exactly where it is > 0.

    Pairs (u, v): ``f(u)[attribute] − f(v)[attribute]``. Triplets (a, p, q), "a is nearer to p":
    ``d(a, q) − d(a, p)`` with the Euclidean distance over all outputs. So a tie predicts −1.

    Args:
        outputs: ``[M, D]``, per item.
        y: ``[n, arity + 2]``: item rows (2 or 3), label ±1, attribute.

    Returns:
        float64 ``[n]``; NaN where an output of one of the items is not finite.

    >>> decisions(np.array([[1.0], [3.0]]), np.array([[0, 1, 1, 0]])).tolist()
    [-2.0]
    """
    arity = y.shape[1] - 2
    # all outputs of an item, as all logits of an input in classification
    sound = np.isfinite(outputs).all(axis=1, keepdims=True)
    scores = np.where(sound, outputs, np.nan).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        if arity == 2:
            u, v, attribute = y[:, 0], y[:, 1], y[:, 3]
            return np.asarray(scores[u, attribute] - scores[v, attribute])
        if arity != 3:
            raise ValueError(f"comparisons are pairs or triplets, got y of shape {y.shape}")
        a, p, q = (scores[y[:, column]] for column in range(3))
        return np.asarray(np.linalg.norm(a - q, axis=1) - np.linalg.norm(a - p, axis=1))


def ranking(before: Outputs, after: Outputs | None, y: Integers) -> Judged:
    """Judge a ranker over the comparisons of the eval subset.

    A comparison is right where its decision's sign is its label (a tie predicts −1; a decision that
    is not finite is wrong either way). Success: wrong after, of the comparisons right before.

    Args:
        before: outputs per item ``[M, D]`` before the attack.
        after: outputs per item under attack, or ``None`` where no such prediction exists.
        y: ``[n, arity + 2]``: item rows (2 or 3), label ±1, attribute.

    Returns:
        Figures and outcome bits ``[n]``; ``parts`` holds accuracies per attribute.
    """
    last = None if after is None else decisions(after, y)
    return judge_decisions(decisions(before, y), last, y, before.shape[1])


def judge_decisions(first: Floats, last: Floats | None, y: Integers, outputs: int) -> Judged:
    """Judge decision values; see ``ranking``.

    Args:
        first: decision of each comparison before the attack, ``[n]``.
        last: under attack, or ``None`` where no such prediction exists.
        y: ``[n, arity + 2]``: item rows (2 or 3), label ±1, attribute.
        outputs: number of outputs per item.
    """
    label = y[:, -2]
    right = signs(first) == label
    right_after = None if last is None else signs(last) == label
    metrics, outcomes = accuracy_figures(right, right_after)
    metrics |= {"clean_auc": _auc(first, label), "clean_f1": _f1(signs(first), label)}
    parts = _per_attribute("clean_accuracy", right, y, outputs)
    if last is not None and right_after is not None:
        outcomes |= {"success": right & ~right_after, "eligible": right}
        metrics["attack_success_rate"] = share_of_right(~right_after, right)
        metrics["flip_rate"] = share(signs(first) != signs(last))
        metrics |= {"auc": _auc(last, label), "f1": _f1(signs(last), label)}
        parts |= _per_attribute("accuracy", right_after, y, outputs)
    return Judged(
        metrics=metrics,
        parts=parts,
        outcomes=outcomes,
        nonfinite=nonfinite_counts(
            ~np.isfinite(first), None if last is None else ~np.isfinite(last)
        ),
    )


def signs(decision: Floats) -> Integers:
    """Return predicted labels int64 ``[n]``: +1, −1, or 0 (never right) where not finite."""
    return np.where(np.isfinite(decision), np.where(decision > 0, 1, -1), 0)


def _per_attribute(name: str, right: Bits, y: Integers, outputs: int) -> Metrics:
    """Return the accuracy of each attribute: all outputs of a pair ranker, or those in triplets."""
    attribute = y[:, -1]
    every = range(outputs) if y.shape[1] == 4 else np.unique(attribute).tolist()
    return {
        f"{name}[attr {k}]": proportion(
            int(right[attribute == k].sum()),
            int(np.sum(attribute == k)),
            f"no comparison is about attribute {k}",
        )
        for k in every
    }


def _auc(decision: Floats, label: Integers) -> Rate | Absent:
    """Return the share of (+1, −1) couples in the right order; a tie counts one half."""
    positive, negative = decision[label == 1], np.sort(decision[label == -1])
    if not len(positive) or not len(negative):
        return Absent("all labels are equal")
    if not np.isfinite(decision).all():
        return Absent("a decision is not finite")
    below = np.searchsorted(negative, positive, side="left")
    upto = np.searchsorted(negative, positive, side="right")
    auc = float((below + upto).sum()) / (2 * len(positive) * len(negative))
    return with_interval(auc, auc_interval(auc, len(positive), len(negative)), "newcombe")


def _f1(predicted: Integers, label: Integers) -> Rate | Absent:
    """Return F1 of the label +1: ``2 tp / (2 tp + fp + fn)``.

    F1 = 2J / (1 + J) with the proportion J = tp / (tp + fp + fn), so Wilson's limits of J carry
    over (Hand, Christen & Kirielle 2021 name J F*). A decision that is not finite misses its label.
    """
    tp = int(np.sum((predicted == 1) & (label == 1)))
    union = int(np.sum((predicted == 1) | (label == 1)))
    if union == 0:
        return Absent("no label and no prediction is +1")
    value, lo, hi = (2 * j / (1 + j) for j in (tp / union, *wilson(tp, union)))
    return with_interval(value, Interval(lo, hi), "wilson")
