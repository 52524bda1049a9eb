"""Judge of classification: figures and outcome bits from logits and labels."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from harness.judge.outcomes import (
    NONE_RIGHT,
    Bits,
    accuracy_figures,
    nonfinite_counts,
    share,
    share_of_right,
)
from harness.judge.values import Absent, Judged, Metrics, proportion

Integers = NDArray[np.int64]
Outputs = NDArray[np.floating]
Controls = Mapping[str, tuple[Outputs, Outputs]]

BACKDOOR_CONTROLS = {
    "control": "the same inputs against a network trained without the attack",
    "clean_form": "the same inputs against a network that starts from what the attack delivers in "
    "its clean form",
}
"""Control of a backdoor, whose predictions and figure have its name in theirs → what it is."""

NO_CONTROLS: Controls = MappingProxyType({})


def predicted_classes(logits: Outputs) -> Integers:
    """Return the index of the largest logit of each row; −1 (never right) where one is not finite.

    Args:
        logits: ``[N, K]``. Of equal logits the first wins.

    Returns:
        int64 ``[N]`` in −1..K−1.

    >>> predicted_classes(np.array([[0.1, 0.9], [np.nan, 2.0]])).tolist()
    [1, -1]
    """
    finite = np.isfinite(logits).all(axis=1)
    return np.where(finite, np.argmax(logits, axis=1), -1)


def classification(
    before: Outputs,
    after: Outputs | None,
    y: Integers,
    *,
    goal: Integers | Absent | None = None,
    controls: Controls = NO_CONTROLS,
) -> Judged:
    """Judge a classifier over the eval subset.

    Untargeted success: wrong after, of the inputs right before. Targeted success: classified as the
    goal after, of the inputs right before whose class is not the goal. Robust: right before *and*
    after.

    Args:
        before: logits ``[N, K]`` before the attack. A row that is not finite is wrong.
        after: logits ``[N, K]`` under attack, or ``None`` where no such prediction exists.
        y: classes ``[N]``, 0..K−1.
        goal: target class ``[N]`` of each input; ``None`` for untargeted attacks; ``Absent`` where
            a target is planned but meaningless (label spaces differ).
        controls: name, as in ``BACKDOOR_CONTROLS`` → as ``before`` and ``after``, of that control.

    Returns:
        Figures and outcome bits. With a goal, the figures include ``untargeted_success_rate``, and
        ``attack_success_rate_all``, where inputs of the target class count, too. Those of the
        control are named ``control_…`` in place of ``attack_…``.

    >>> eye = np.eye(2)
    >>> judged = classification(eye[[0, 1, 1]], eye[[1, 1, 1]], np.array([0, 1, 0]))
    >>> judged.metrics["robust_accuracy"].to_json()["k"]
    1
    >>> judged.metrics["attack_success_rate"].to_json()["n"]
    2
    """
    _check_inputs(before, after, y, goal, *itertools.chain(*controls.values()))
    first = predicted_classes(before)
    last = None if after is None else predicted_classes(after)
    right = first == y
    metrics, outcomes = accuracy_figures(right, None if last is None else last == y)
    metrics["constant_accuracy"] = share(y == np.bincount(y, minlength=1).argmax())
    if last is not None:
        metrics["flip_rate"] = share(first != last)
        success, eligible = _success(right, last, y, goal)
        outcomes |= {"success": success, "eligible": eligible}
        metrics |= _success_rates(right, last, y, goal)
    for name, (untouched, triggered) in controls.items():
        found = _success_rates(
            predicted_classes(untouched) == y, predicted_classes(triggered), y, goal
        )
        metrics |= {f"{name}_{rate.removeprefix('attack_')}": found[rate] for rate in found}
    return Judged(
        metrics=metrics,
        outcomes=outcomes,
        nonfinite=nonfinite_counts(first == -1, None if last is None else last == -1),
    )


def _success(
    right: Bits, last: Integers, y: Integers, goal: Integers | Absent | None
) -> tuple[Bits, Bits]:
    """Return masks of the inputs where the attack succeeded, and of those that are eligible."""
    if isinstance(goal, Absent):
        return np.zeros(len(y), bool), np.zeros(len(y), bool)
    if goal is None:
        return right & (last != y), right
    eligible = right & (y != goal)
    return eligible & (last == goal), eligible


def _success_rates(
    right: Bits, last: Integers, y: Integers, goal: Integers | Absent | None
) -> Metrics:
    """Return the success of one network's attacked inputs, in each form that the goal has."""
    success, eligible = _success(right, last, y, goal)
    empty = NONE_RIGHT if goal is None else f"{NONE_RIGHT} and not of the target class"
    rate = proportion(int(success.sum()), int(eligible.sum()), empty)
    found: Metrics = {"attack_success_rate": goal if isinstance(goal, Absent) else rate}
    if goal is not None:
        found["untargeted_success_rate"] = share_of_right(last != y, right)
    if isinstance(goal, np.ndarray):
        found["attack_success_rate_all"] = share_of_right(last == goal, right)
    return found


def _check_inputs(
    before: Outputs,
    after: Outputs | None,
    y: Integers,
    goal: Integers | Absent | None,
    *controls: Outputs,
) -> None:
    """Check the shapes of the arguments; a fault here is the harness's, so it is an exception."""
    for array in (after, y, goal, *controls):
        if array is not None and not isinstance(array, Absent) and len(array) != len(before):
            raise ValueError(f"{len(before)} predictions, but {len(array)} rows beside them")
    # Without this check, a target beyond the classes would give a success rate of 0.
    if isinstance(goal, np.ndarray) and np.any((goal < 0) | (goal >= before.shape[1])):
        raise ValueError(f"a goal is not one of the {before.shape[1]} classes")
