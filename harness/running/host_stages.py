"""Stages that the harness runs itself, from data to measured attacks; no module code."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import datasets
from harness.common.files import load_array, read_json, save_array, write_json
from harness.common.status import By, Status
from harness.config.budget import count_edits
from harness.datasets.hashing import hash_order
from harness.judge import budget as budgets
from harness.judge.common import common
from harness.judge.edits import check_edits, find_rows
from harness.planning.recipe import (
    ApplyRecipe,
    DataRecipe,
    GoalRecipe,
    MeasureRecipe,
    SubsetRecipe,
    WeightsRecipe,
)
from harness.planning.weights import find
from harness.running.strongest import strongest

Array = NDArray[Any]
Inputs = Mapping[str, Path]


class StageFailure(Exception):
    """End of a host stage in a status other than ok.

    Attributes:
        status: a status of the closed list.
        reason: one sentence.
        by: party that it is attributed to.
    """

    def __init__(self, status: Status, reason: str, by: By) -> None:
        super().__init__(reason)
        self.status, self.reason, self.by = status, reason, by


def data(recipe: DataRecipe, inputs: Inputs, out: Path, data_root: Path) -> None:
    """Store a data set's splits, as parts, and its description."""
    splits = datasets.load(recipe.name, data_root, recipe.train_fraction)
    for name in ("train", "val", "test"):
        split = getattr(splits, name)
        for field in ("x", "y", "ids"):
            save_array(out / name / f"{field}.npy", getattr(split, field))
    write_json(out / "spec.json", splits.spec)


def slice_(recipe: SubsetRecipe, inputs: Inputs, out: Path, data_root: Path) -> None:
    """Store the first examples of the test split by hash; inputs and labels are separate parts."""
    cut(inputs, recipe.examples, out, x="x", y="y")


def clean(recipe: SubsetRecipe, inputs: Inputs, out: Path, data_root: Path) -> None:
    """Store clean examples for repair, cut from validation; all of them without a number."""
    cut(inputs, recipe.examples, out, x="clean", y="clean")


def cut(inputs: Inputs, examples: int | None, out: Path, *, x: str, y: str) -> None:
    """Store the first ``examples`` rows by the hash of their ids, in that order."""
    folder, spec = inputs["data"], read_json(inputs["spec"] / "spec.json")
    arrays = {name: load_array(folder / f"{name}.npy") for name in ("x", "y", "ids")}
    rows = hash_order(arrays["ids"], "slice")[:examples]
    if examples is not None and len(rows) < examples:
        raise StageFailure(
            "not_applicable", f"asks for {examples} examples, the split has {len(rows)}", "rule"
        )
    # in ranking x are items, which comparisons name by row: all of them stay
    chosen = arrays["x"] if spec["task"] == "ranking" else arrays["x"][rows]
    save_array(out / x / "x.npy", chosen)
    save_array(out / y / "y.npy", arrays["y"][rows])
    for part in {x, y}:
        save_array(out / part / "ids.npy", arrays["ids"][rows])
    write_json(out / "spec.json", spec)


def goal(recipe: GoalRecipe, inputs: Inputs, out: Path, data_root: Path) -> None:
    """Store targets in the labels' form, by example id; they never depend on a cell's seed."""
    folder = inputs["slice"]
    spec = read_json(folder / "spec.json")
    y, ids = load_array(folder / "y" / "y.npy"), load_array(folder / "y" / "ids.npy")
    save_array(out / "goal" / "goal.npy", targets(recipe.goal, y, ids, spec))


def targets(chosen: str | int, y: Array, ids: Array, spec: Mapping[str, Any]) -> Array:
    """Return goals: the ``next`` class, a ``random`` other one by id, or one for all; void stays.

    >>> targets("next", np.array([0, 2]), np.array([7, 8]), {"outputs": 3, "void": None}).tolist()
    [1, 0]
    """
    classes = int(spec["outputs"])
    if isinstance(chosen, int):
        if chosen >= classes:
            reason = f"target {chosen}: there are {classes} classes"
            raise StageFailure("not_applicable", reason, "rule")
        result = np.full_like(y, chosen)
    elif chosen == "next":
        result = ((y.astype(np.int64) + 1) % classes).astype(y.dtype)
    else:
        hashes = [hashlib.sha256(f"goal:{i}".encode()).digest() for i in ids.tolist()]
        offset = np.array([1 + int.from_bytes(h[:8], "big") % (classes - 1) for h in hashes])
        offset = offset.reshape(-1, *([1] * (y.ndim - 1)))
        result = ((y.astype(np.int64) + offset) % classes).astype(y.dtype)
    if spec["void"] is not None:
        result = np.where(y == spec["void"], y, result)
    return result


def apply(recipe: ApplyRecipe, inputs: Inputs, out: Path, data_root: Path) -> None:
    """Apply proposed edits, after a check of their budget, or a sanitizer's choice.

    Later stages receive the changed set alone: the edits would tell a sanitizer the answer.
    """
    folder, changes = inputs["train"], inputs["changes"]
    arrays = {name: np.array(load_array(folder / f"{name}.npy")) for name in ("x", "y", "ids")}
    spec = read_json(inputs["spec"] / "spec.json")
    if recipe.budget is None:
        apply_choice(arrays, changes, spec)
    else:
        apply_edits(arrays, changes, spec, recipe.budget)
    for name, array in arrays.items():
        save_array(out / "train" / f"{name}.npy", array)


def apply_choice(arrays: dict[str, Array], changes: Path, spec: Mapping[str, Any]) -> None:
    """Apply a sanitizer's mask and corrected labels, in place of the dictionary's arrays."""
    mask = load_array(changes / "mask.npy")
    if (changes / "y.npy").is_file():
        arrays["y"] = np.array(load_array(changes / "y.npy"))
    names = ("y", "ids") if spec["task"] == "ranking" else ("x", "y", "ids")
    for name in names:
        arrays[name] = arrays[name][mask]


def apply_edits(
    arrays: dict[str, Array], changes: Path, spec: Mapping[str, Any], budget: Mapping[str, Any]
) -> None:
    """Apply an attack's edits after the judge has counted and measured them."""
    ids = np.asarray(load_array(changes / "ids.npy"))
    x, y = (
        load_array(changes / f"{n}.npy") if (changes / f"{n}.npy").is_file() else None
        for n in ("x", "y")
    )
    if x is not None and spec["task"] == "ranking":
        raise StageFailure("budget_violation", "a ranking edit may change labels only", "attack")
    reason = check_edits(
        ids,
        x,
        y,
        train_ids=arrays["ids"],
        train_x=arrays["x"],
        train_y=arrays["y"],
        budget=count_edits(budget, len(arrays["ids"])),
        spec=dict(spec),
    )
    if reason is not None:
        raise StageFailure("budget_violation", reason, "attack")
    rows = find_rows(ids, arrays["ids"])
    if x is not None:
        arrays["x"][rows] = to_stored_form(x, arrays["x"].dtype)
    if y is not None:
        arrays["y"][rows] = y


def to_stored_form(x: Array, dtype: np.dtype[Any]) -> Array:
    """Return inputs of [0, 1] in the stored form; edits change images before augmentation."""
    if dtype == np.uint8:
        rounded: Array = np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)
        return rounded
    return x.astype(dtype)


def measure(recipe: MeasureRecipe, inputs: Inputs, out: Path, data_root: Path) -> None:
    """Store distances of attacked inputs, the common part of all changes, and a few for pictures.

    The batch itself may then be removed.
    """
    original, attacked = (load_array(inputs[n] / "x.npy") for n in ("clean", "attacked"))
    distances = budgets.measure(original, attacked)
    for field in fields(distances):
        save_array(out / "distances" / f"{field.name}.npy", getattr(distances, field.name))
    shared = common(original, attacked)
    save_array(out / "common" / "share.npy", np.array([shared.share]))
    save_array(out / "common" / "mean.npy", shared.mean.astype(np.float32))
    save_array(out / "common" / "spectrum.npy", shared.spectrum.astype(np.float32))
    save_array(out / "pictures" / "attacked.npy", attacked[: recipe.keep])


def weights(recipe: WeightsRecipe, inputs: Inputs, out: Path, data_root: Path) -> None:
    """Store the files of existing weights, whose digests the victim's manifest names."""
    (out / "file").mkdir()
    for file in find(recipe, data_root):
        shutil.copyfile(file, out / "file" / file.name)


HOST_STAGES: dict[str, Callable[[Any, Inputs, Path, Path], None]] = {
    "data": data,
    "slice": slice_,
    "goal": goal,
    "clean": clean,
    "apply": apply,
    "measure": measure,
    "strongest": strongest,
    "weights": weights,
}
"""Table of host stages: functions of recipe, granted parts, output folder and data root."""
