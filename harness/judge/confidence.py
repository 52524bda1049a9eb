"""Confidence of a classifier under attack, whatever the labels are.

Under a budget without a bound an attack may make inputs that belong to no class. What counts then
is how sure the network is of its answer, and how soon every class has been answered.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.judge.backdoors import DRAWN
from harness.judge.classification import predicted_classes
from harness.judge.draws import pick
from harness.judge.outcomes import share
from harness.judge.values import Absent, Metrics, Rate, with_interval

Floats = NDArray[np.float64]
Outputs = NDArray[np.floating]

SHARES = {"confident_95": 0.95, "confident_99": 0.99}
"""Figure → least confidence of the inputs that it counts."""

ATTEMPTS, REACHED = "attempts_all_classes", 0.99
"""Figure of the attempts that reach each class, and the least confidence of a class reached."""

NO_LOGITS = "outputs are shares of 1, not logits, so a softmax of them is no confidence"

_MOST_NAMES = 10
_SLACK = 1e-3  # of a sum of float32 shares


def confidence_figures(outputs: Outputs, names: Sequence[str] = ()) -> Metrics:
    """Judge how sure a classifier is of its answers to attacked inputs.

    Args:
        outputs: logits under attack, ``[N, K]`` in the order of the attack's attempts, or
            ``[D, N, K]`` of D draws: each input counts with its most confident draw.
        names: names of the K classes; without them they are called ``class 0``, ``class 1``, ….

    Returns:
        ``confident_95`` and ``confident_99``, shares of the N inputs, and ``attempts_all_classes``,
        the smallest n such that the first n inputs reached every class. All are absent where the
        network answers with shares or votes; the last also where a class was never reached.

    >>> found = confidence_figures(np.array([[9.0, 0.0], [4.0, 0.0], [0.0, 9.0]]))
    >>> found["confident_95"].value, found["confident_99"].k, found["attempts_all_classes"].value
    (1.0, 2, 3.0)
    """
    if are_shares(outputs):
        return {name: Absent(NO_LOGITS) for name in (*SHARES, ATTEMPTS)}
    sure = confidences(outputs)
    if outputs.ndim == DRAWN:
        outputs, sure = pick(outputs, sure), sure.max(axis=0)
    found: Metrics = {name: share(sure >= least) for name, least in SHARES.items()}
    return found | {ATTEMPTS: _attempts(outputs, sure, names)}


def confidences(logits: Outputs) -> Floats:
    """Return the largest softmax of each row ``[…]``, 0 where a logit is not finite.

    Args:
        logits: ``[…, K]``.

    >>> confidences(np.array([[3.0, 3.0], [0.0, np.nan], [0.0, np.inf]])).tolist()
    [0.5, 0.0, 0.0]
    """
    finite = np.asarray(np.isfinite(logits).all(axis=-1))
    rows = np.where(finite[..., None], logits, 0).astype(np.float64)
    found: Floats = 1 / np.exp(rows - rows.max(axis=-1, keepdims=True)).sum(axis=-1)
    return np.where(finite, found, 0.0)


def are_shares(outputs: Outputs) -> bool:
    """Return whether all finite rows are shares of 1, as probabilities and votes are.

    >>> are_shares(np.array([[0.25, 0.75], [1.0, 0.0]])), are_shares(np.array([[2.0, -1.0]]))
    (True, False)
    """
    rows = outputs[np.isfinite(outputs).all(axis=-1)].astype(np.float64)
    sums = rows.sum(axis=-1)
    return bool(len(rows) and (rows >= 0).all() and (abs(sums - 1) <= _SLACK).all())


def _attempts(logits: Outputs, sure: Floats, names: Sequence[str]) -> Rate | Absent:
    rows = np.flatnonzero(sure >= REACHED)
    reached, first = np.unique(predicted_classes(logits[rows]), return_index=True)
    count = logits.shape[1]
    if len(reached) == count:
        return with_interval(float(rows[first].max() + 1), None, "count")
    if len(names) != count:
        names = [f"class {number}" for number in range(count)]
    missing = [names[number] for number in np.setdiff1d(np.arange(count), reached)]
    some = ", ".join(missing[:_MOST_NAMES])
    if len(missing) > _MOST_NAMES:
        some += f" and {len(missing) - _MOST_NAMES:,} more"
    text = f"never reached in {len(logits):,} attempts: {len(missing):,} of {count:,} classes"
    return Absent(f"{text} ({some})")
