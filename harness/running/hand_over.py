"""Host stages between attacks in order: the examples that still stand, and the inputs of all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.files import (
    load_array,
    read_json,
    save_array,
    save_parts,
    store_rows,
    write_json,
)
from harness.judge import draws, metrics
from harness.planning.recipe import MergeRecipe, SurvivorsRecipe
from harness.results.scoring import DRAWN
from harness.running.strongest import choose

Array = NDArray[Any]
Inputs = Mapping[str, Path]


def survivors(recipe: SurvivorsRecipe, inputs: Inputs, out: Path, data_root: Path) -> None:
    """Store, in the form of an eval subset, the examples that an attack has not broken.

    Their places in the whole eval subset, and its size, are the part ``rows``.
    """
    folder = inputs["slice"]
    x, y = (load_array(folder / name / f"{name}.npy") for name in ("x", "y"))
    ids = load_array(folder / "x" / "ids.npy")
    goal = load_array(inputs["goal"] / "goal.npy") if "goal" in inputs else None
    rows = load_array(inputs["rows"] / "rows.npy") if "rows" in inputs else np.arange(len(y))
    outputs = [np.array(load_array(inputs[name] / "outputs.npy")) for name in ("before", "after")]
    before = outputs[0][..., rows, :]
    keep = rows[standing(before, outputs[1], y[rows], None if goal is None else goal[rows])]
    store_rows(out / "x" / "x.npy", x, folder, keep)
    store_rows(out / "y" / "y.npy", y, folder, keep)
    for part in ("x", "y"):
        store_rows(out / part / "ids.npy", ids, folder, keep)
    if goal is not None:
        store_rows(out / "goal" / "goal.npy", goal, folder, keep)
    if "asked" in inputs:  # what is left of a budget of queries is handed over, too
        counts = load_array(inputs["asked"] / "counts.npy")
        save_array(out / "spent" / "counts.npy", counts[np.isin(rows, keep)])
    save_array(out / "rows" / "rows.npy", keep)
    save_array(out / "rows" / "size.npy", np.array([len(y)]))
    write_json(out / "spec.json", read_json(folder / "spec.json"))


def standing(before: Array, after: Array, y: Array, goal: Array | None) -> NDArray[np.bool_]:
    """Return which examples an attack could break, and did not, bool ``[N]``.

    Args:
        before: logits ``[N, K]``, or ``[D, N, K]`` of several draws of a random network.
        after: the same on the attacked inputs.
        y: classes ``[N]``.
        goal: classes to reach ``[N]``, or ``None``.

    >>> first = np.array([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
    >>> standing(first, first[[0, 2, 2]], np.array([0, 0, 0]), None).tolist()
    [True, False, False]
    """
    judge = draws.classification if after.ndim == DRAWN else metrics.classification
    bits = judge(before, after, y, goal=goal).outcomes
    return np.asarray(bits["eligible"] & ~bits["success"])


def merge(recipe: MergeRecipe, inputs: Inputs, out: Path, data_root: Path) -> None:
    """Store of each example the input of the last attack that it was handed to.

    That is the one that broke it: later ones were not handed it.
    """
    first = load_array(inputs["attacked_1"] / "x.npy")
    last = np.zeros(len(first), dtype=np.intp)  # number of the attack, from 0
    places = [np.arange(len(first))]
    attacked = [first]
    for number in range(1, recipe.attacks):
        rows = load_array(inputs[f"rows_{number + 1}"] / "rows.npy")
        last[rows] = number
        places.append(np.asarray(rows))
        attacked.append(load_array(inputs[f"attacked_{number + 1}"] / "x.npy"))
    parts = choose(attacked, last, places)
    save_parts(out / "attacked" / "x.npy", first.shape, first.dtype, parts)
