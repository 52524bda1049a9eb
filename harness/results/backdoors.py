"""Figures beside a backdoor's success, from artefacts: clean inputs, and the teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.files import load_array
from harness.judge import budget as budgets
from harness.judge import metrics
from harness.judge.values import Absent, Metrics
from harness.results.records import RecordedCell
from harness.storage.store import Store

Array = NDArray[Any]

CALLED = {"before": "target_rate_clean"} | {
    f"{name}_before": f"{name}_target_rate_clean" for name in metrics.BACKDOOR_CONTROLS
}
"""Role of a network's outputs on clean inputs → its figure."""


def target_rates(
    info: RecordedCell, outputs: Mapping[str, Array], y: Array, goal: Array | Absent | None
) -> Metrics:
    """Return how often clean inputs are called the target, by the network and by its controls.

    Args:
        info: the cell as its benchmark names it; without one target for all inputs it has no rates.
        outputs: role → logits of the cell.
        y: classes ``[N]``.
        goal: target class of each input, or why it means nothing.
    """
    if goal is None or not has_one_target(info):
        return {}
    return {
        name: metrics.target_rate(outputs[role], y, goal)
        for role, name in CALLED.items()
        if role in outputs
    }


def has_one_target(info: RecordedCell) -> bool:
    """Return whether a cell's attacker aims at one class for all inputs."""
    chosen = info.goal.removeprefix("targeted: ").isdecimal()
    return info.task == "classification" and (chosen or isinstance(info.budget.get("target"), int))


def teacher_figures(info: RecordedCell, stages: Mapping[str, str], store: Store) -> Metrics:
    """Judge the teacher of a cell, and its controls.

    Empty where no teacher answers. Triggered inputs over budget leave the cell as it is, which is
    judged on its own inputs; the success on these is absent.

    Args:
        info: the cell as its benchmark names it.
        stages: role → stage key; all are in the store.
        store: store of the artefacts.
    """
    if "teacher_before" not in stages:
        return {}
    outputs = {
        role: np.array(load_array(store.part(key, "outputs") / "outputs.npy"))
        for role, key in stages.items()
        if role.endswith(("teacher_before", "teacher_after"))
    }
    y = np.array(load_array(store.part(stages["teacher_slice"], "y") / "y.npy"))
    goal = None
    if "teacher_goal" in stages:
        goal = np.array(load_array(store.part(stages["teacher_goal"], "goal") / "goal.npy"))
    found = metrics.judge_teacher(info.task, outputs, y, goal)
    if "teacher_measure" in stages:
        distances = load_distances(stages["teacher_measure"], store)
        if reason := budgets.check_perturbation(distances, dict(info.budget)):
            over = Absent(f"the trigger is over budget on the teacher's data: {reason}")
            found |= {name: over for name in found if name.endswith("success_rate")}
    return found


def load_distances(measure: str, store: Store) -> budgets.Distances:
    """Read the distances that a ``measure`` stage stored."""
    files = sorted(store.part(measure, "distances").glob("*.npy"))
    found = {file.stem: np.array(load_array(file)) for file in files}
    # older artefacts have none; no budget of theirs has a limit for each channel
    channels = {"channels": np.empty((len(found["linf"]), 0))}
    return budgets.Distances(**channels | found)
