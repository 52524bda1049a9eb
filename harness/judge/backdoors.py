"""Figures that stand beside a backdoor's success: clean inputs, and the teacher.

A trigger's success at the student means little where clean inputs are called the target, too, or
where the teacher, from which the student was trained, did not have the backdoor.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.judge import classification as one_class
from harness.judge import draws
from harness.judge import ranking as one_rank
from harness.judge.outcomes import mean_share
from harness.judge.traits import RANKING
from harness.judge.values import Absent, Judged, Metrics, Rate, proportion

Integers = NDArray[np.int64]
Outputs = NDArray[np.floating]
Goal = Integers | Absent | None

DRAWN = 3
"""Dimensions of the outputs of several draws."""

FIGURES = {"accuracy": "clean_accuracy", "success_rate": "attack_success_rate"}
"""Ending of a teacher's figure → the figure of a cell that is computed in the same way."""

NO_OTHERS = "no input is of another class than the target"


def target_rate(outputs: Outputs, y: Integers, goal: Integers | Absent) -> Rate | Absent:
    """Return the share of clean inputs of other classes that a network calls their target.

    Args:
        outputs: logits on clean inputs, ``[N, K]``, or ``[D, N, K]`` of D draws (a mean then).
        y: classes ``[N]``.
        goal: target class of each input, or why it means nothing.

    Returns:
        A figure over the inputs whose class is not the target, right or wrong; absent where there
        are none.

    >>> target_rate(np.eye(2)[[0, 1, 0]], np.array([0, 1, 1]), np.zeros(3, int)).to_json()["n"]
    2
    """
    if isinstance(goal, Absent):
        return goal
    drawn = outputs if outputs.ndim == DRAWN else outputs[None]
    called = (draws.classes_of(drawn) == goal)[:, y != goal]
    if not called.size or len(called) == 1:
        return proportion(int(called.sum()), called.shape[1], NO_OTHERS)
    return mean_share(called)


def judge_teacher(task: str, outputs: Mapping[str, Outputs], y: Integers, goal: Goal) -> Metrics:
    """Judge a teacher, and its controls, on the teacher's data.

    Args:
        task: ``classification`` or ``ranking``.
        outputs: role → outputs on the test examples, as in a cell: ``teacher_before``, and where
            there are any ``teacher_after``, and both of each control: ``control_teacher_…``.
        y: labels of the examples.
        goal: target class of each example; ``None`` for an untargeted attack.

    Returns:
        ``teacher_accuracy``, and ``teacher_success_rate`` where inputs were attacked: computed as
        clean accuracy and attack success of a cell, so that they compare with the student's. The
        same of each control.
    """
    found: Metrics = {}
    for network in ("teacher", *(f"{name}_teacher" for name in one_class.BACKDOOR_CONTROLS)):
        before, after = (outputs.get(f"{network}_{when}") for when in ("before", "after"))
        if before is None:
            continue
        judged = _judge(task, before, before if after is None else after, y, goal)
        names = FIGURES if after is not None else ("accuracy",)
        found |= {f"{network}_{name}": judged.metrics[FIGURES[name]] for name in names}
    return found


def _judge(task: str, before: Outputs, after: Outputs, y: Integers, goal: Goal) -> Judged:
    drawn = before.ndim == DRAWN
    if task == RANKING:
        return (draws.ranking if drawn else one_rank.ranking)(before, after, y)
    judge = draws.classification if drawn else one_class.classification
    return judge(before, after, y, goal=goal)
