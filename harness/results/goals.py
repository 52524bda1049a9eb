"""Target classes of a cell, and whether they mean anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.files import load_array
from harness.config.threat import THREATS
from harness.judge.values import Absent
from harness.results.record_parts import RecordedCell
from harness.storage.store import Store

Array = NDArray[Any]
Goal = Array | Absent | None


def goal_of(
    info: RecordedCell, stages: Mapping[str, str], store: Store, outputs: Mapping[str, Array]
) -> Goal:
    """Return a cell's target classes, ``None`` if untargeted, absent when they mean nothing."""
    if "goal" in stages and foreign_labels(info, "teacher" in stages):
        return Absent("the attacker's classes are not the student's: a target class means nothing")
    if "goal" in stages:
        return np.array(load_array(store.part(stages["goal"], "goal") / "goal.npy"))
    if info.goal != "targeted: least_likely":
        return None
    before = outputs["before"]
    if before.ndim == 2 and info.task == "classification":
        return np.asarray(before.argmin(axis=1))
    if "attack" in stages:  # other draws have another least one
        drawn = store.part(stages["attack"], "goal") / "goal.npy"
        if drawn.is_file():
            return np.array(load_array(drawn))
    if info.task == "segmentation":
        return Absent("class maps do not say which class the network finds least likely")
    return np.asarray(before.mean(axis=0).argmin(axis=1))


def counted_goal(goal: Goal, info: RecordedCell, notes: list[str]) -> Goal:
    """Return the goal by which success counts: of a trigger without a meaningful target, none."""
    if not isinstance(goal, Absent) or THREATS[info.threat_model].at_test != "trigger":
        return goal
    notes.append(f"{goal.reason}, so any wrong answer counts as success")
    return None


def foreign_labels(info: RecordedCell, teacher: bool = False) -> bool:
    """Return whether the attacker worked with other classes than the student's.

    A public network without public data is existing weights, whose classes play no part.

    Args:
        info: the cell.
        teacher: whether the attack made or poisoned the network that the student starts from.
    """
    threat, data = THREATS[info.threat_model], info.data
    if threat.delivers:
        return data.get("attacker", data.get("public")) != data["student"]
    return (holds_public(info) or teacher) and data.get("public") != data["student"]


def holds_public(info: RecordedCell) -> bool:
    """Return whether the attacker makes test inputs on the public network, not on a surrogate."""
    source = THREATS[info.threat_model].access == "source"
    return source and not info.knowledge.startswith("surrogate")
