"""Stages that the harness runs itself, from data to measured attacks; no module code."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import datasets
from harness.common.files import (
    Rows,
    load_array,
    read_json,
    read_parts,
    save_array,
    save_parts,
    store_rows,
    write_json,
)
from harness.common.status import By, Status
from harness.config.budget import count_edits
from harness.config.data_entry import part_of
from harness.datasets.fraction import train_rows
from harness.datasets.hashing import hash_order
from harness.datasets.published import examples_digest
from harness.datasets.stored import check_unreplaced
from harness.judge import budget as budgets
from harness.judge.common import common
from harness.judge.edits import check_edits, find_rows
from harness.planning.places import read_places
from harness.planning.recipe import (
    ApplyRecipe,
    DataRecipe,
    GoalRecipe,
    MeasureRecipe,
    SubsetRecipe,
    WeightsRecipe,
)
from harness.planning.weights import find
from harness.running.copy_file import copy_file
from harness.running.hand_over import merge, survivors
from harness.running.overlays import load_overlay, overlaid_parts, save_overlay
from harness.running.strongest import strongest
from harness.running.votes import decide
from harness.runtime.crops import centre_crop
from harness.runtime.worker.job_file import CONTENT

Array = NDArray[Any]
Inputs = Mapping[str, Path]

SPLITS = ("train", "val", "test")
JUDGED = ("boxes", "groups")
"""Parts that the judge and pages may read; no stage of a module is granted them."""


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
    """Store a data set's splits, as parts, and its description; a fetched array becomes a link.

    Boxes and groups are parts of their own, so that no grant of a split includes them.
    """
    splits = datasets.load(recipe.name, data_root)
    part = part_of(recipe.part) if recipe.part else None
    chosen = train_rows(recipe.name, splits, recipe.train_fraction, recipe.shots, part)
    for name in SPLITS:
        split, rows = getattr(splits, name), chosen if name == "train" else None
        # in ranking x are items, which comparisons name by row: all of them stay
        x_rows = None if splits.spec["task"] == "ranking" else rows
        store_rows(out / name / "x.npy", split.x, data_root, x_rows)
        for field in ("y", "ids"):
            store_rows(out / name / f"{field}.npy", getattr(split, field), data_root, rows)
        for field in JUDGED:
            if (array := getattr(split, field)) is not None:
                store_rows(out / field / f"{name}.npy", array, data_root, rows)
    write_json(out / "spec.json", splits.spec)


def planned_data(recipe: DataRecipe, inputs: Inputs, out: Path, data_root: Path) -> None:
    """Store a data set's splits, and check that they are of the set that the stage's key names.

    The check comes last: another process may fetch the set at any time, by one rename.
    """
    data(recipe, inputs, out, data_root)
    if datasets.find(recipe.name) is None:
        check_unreplaced(recipe.name, data_root, recipe.digest)


def slice_(recipe: SubsetRecipe, inputs: Inputs, out: Path, data_root: Path) -> None:
    """Store the first examples of the test split by hash; inputs and labels are separate parts.

    Their boxes and groups are parts, too, if the data set has them, and so are their places in the
    split, by which pictures are named.
    """
    rows = cut(inputs, recipe.examples, out, x="x", y="y")
    save_array(out / "rows" / "rows.npy", np.asarray(rows))
    digest = examples_digest(out / "x" / "x.npy", out / "y" / "y.npy")
    write_json(out / "rows" / "examples.json", digest)
    for field in JUDGED:
        path = inputs["spec"] / field / f"{inputs['data'].name}.npy"
        if path.is_file():
            store_rows(out / field / f"{field}.npy", load_array(path), inputs["spec"], rows)


def clean(recipe: SubsetRecipe, inputs: Inputs, out: Path, data_root: Path) -> None:
    """Store clean examples for repair, cut from validation; all of them without a number."""
    cut(inputs, recipe.examples, out, x="clean", y="clean")


def cut(inputs: Inputs, examples: int | None, out: Path, *, x: str, y: str) -> Rows:
    """Store the first ``examples`` rows by the hash of their ids, in that order; return them."""
    folder, spec = inputs["data"], read_json(inputs["spec"] / "spec.json")
    arrays = {name: load_array(folder / f"{name}.npy") for name in ("x", "y", "ids")}
    rows, source = hash_order(arrays["ids"], "slice"), "split"
    if "rows" in inputs:
        places, source = np.array(read_places(inputs["rows"] / CONTENT)), "list of rows"
        if places.max() >= len(rows):
            reason = f"a row {places.max():,} is asked for, the split has {len(rows):,}"
            raise StageFailure("not_applicable", reason, "rule")
        rows = rows[np.isin(rows, places)]
    rows = rows[:examples]
    if examples is not None and len(rows) < examples:
        reason = f"asks for {examples} examples, the {source} has {len(rows)}"
        raise StageFailure("not_applicable", reason, "rule")
    x_rows = None if spec["task"] == "ranking" else rows
    store_rows(out / x / "x.npy", as_inputs(arrays["x"], spec), folder, x_rows)
    store_rows(out / y / "y.npy", arrays["y"], folder, rows)
    for part in {x, y}:
        store_rows(out / part / "ids.npy", arrays["ids"], folder, rows)
    write_json(out / "spec.json", spec)
    return rows


def as_inputs(x: Array, spec: Mapping[str, Any]) -> Array:
    """Return inputs in the shape that modules see: a view of the middle where stored larger."""
    return centre_crop(x, spec["shape"]) if spec.get("stored") else x


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
    """Apply proposed edits, after a check of their budget, a sanitizer's choice, or an overlay.

    Later stages receive the changed set alone: the edits would tell a sanitizer the answer. An
    array that stays as it is becomes a link.
    """
    spec = read_json(inputs["spec"] / "spec.json")
    folder, changes = inputs["train"], inputs.get("changes")
    if changes is None:
        show_overlay(folder, spec, out / "train")
    elif recipe.budget is None:
        apply_choice(folder, changes, spec, out / "train")
    else:
        apply_edits(folder, changes, spec, recipe.budget, out / "train")


def apply_choice(folder: Path, changes: Path, spec: Mapping[str, Any], out: Path) -> None:
    """Apply a sanitizer's mask and corrected labels."""
    mask = load_array(changes / "mask.npy")
    rows = None if mask.all() else np.flatnonzero(mask)
    corrected = changes if (changes / "y.npy").is_file() else folder
    store_rows(out / "y.npy", load_array(corrected / "y.npy"), corrected, rows)
    store_rows(out / "ids.npy", load_array(folder / "ids.npy"), folder, rows)
    x_rows = None if spec["task"] == "ranking" else rows
    store_rows(out / "x.npy", load_array(folder / "x.npy"), folder, x_rows)
    save_overlay(out, load_overlay(folder), load_array(out / "ids.npy"))


def show_overlay(folder: Path, spec: Mapping[str, Any], out: Path) -> None:
    """Store a training set's pictures with its overlay in them, and no list of who has it."""
    x, y, ids = (load_array(folder / f"{n}.npy") for n in ("x", "y", "ids"))
    overlay = load_overlay(folder)
    store_rows(out / "y.npy", y, folder)
    store_rows(out / "ids.npy", ids, folder)
    if overlay is None:
        store_rows(out / "x.npy", x, folder)
    else:
        parts = overlaid_parts(x, ids, overlay, spec)
        save_parts(out / "x.npy", (len(x), *spec["shape"]), x.dtype, parts)


def apply_edits(
    folder: Path, changes: Path, spec: Mapping[str, Any], budget: Mapping[str, Any], out: Path
) -> None:
    """Apply an attack's edits after the judge has counted and measured them."""
    train_x, train_y, train_ids = (load_array(folder / f"{n}.npy") for n in ("x", "y", "ids"))
    ids = np.asarray(load_array(changes / "ids.npy"))
    x, y = (
        load_array(changes / f"{n}.npy") if (changes / f"{n}.npy").is_file() else None
        for n in ("x", "y")
    )
    overlay = load_overlay(changes)
    if (x is not None or overlay is not None) and spec["task"] == "ranking":
        raise StageFailure("budget_violation", "a ranking edit may change labels only", "attack")
    reason = check_edits(
        ids,
        x,
        y,
        train_ids=train_ids,
        train_x=as_inputs(train_x, spec),
        train_y=train_y,
        budget=count_edits(budget, len(train_ids)),
        spec=dict(spec),
        overlay=overlay,
    )
    if reason is not None:
        raise StageFailure("budget_violation", reason, "attack")
    rows = find_rows(ids, train_ids)
    store_rows(out / "ids.npy", train_ids, folder)
    save_overlay(out, overlay)
    for name, stored, edits in (("x", train_x, x), ("y", train_y, y)):
        if edits is None:
            store_rows(out / f"{name}.npy", stored, folder)
        else:
            parts = edited_parts(stored, rows, edits, spec)
            save_parts(out / f"{name}.npy", stored.shape, stored.dtype, parts)


def edited_parts(
    stored: Array, rows: Rows, edits: Array, spec: Mapping[str, Any]
) -> Iterator[Array]:
    """Yield an array in parts, with some rows replaced; of larger pictures the middle changes."""
    order = np.argsort(rows)
    start = 0
    for part in read_parts(stored):
        changed = np.array(part)
        first, last = np.searchsorted(rows[order], (start, start + len(part)))
        some = order[first:last]
        target = as_inputs(changed, spec) if edits.ndim == stored.ndim == 4 else changed
        target[rows[some] - start] = to_stored_form(edits[some], stored.dtype)
        yield changed
        start += len(part)


def to_stored_form(edits: Array, dtype: np.dtype[Any]) -> Array:
    """Return inputs of [0, 1], or labels, in the stored form; they change before augmentation."""
    if dtype == np.uint8 and np.issubdtype(edits.dtype, np.floating):
        scaled: Array = np.clip(edits, 0, 1)
        scaled *= 255  # in place: large pictures are copied once, not three times
        np.rint(scaled, out=scaled)
        return scaled.astype(np.uint8)
    return edits.astype(dtype)


def measure(recipe: MeasureRecipe, inputs: Inputs, out: Path, data_root: Path) -> None:
    """Store distances of attacked inputs, the common part of all changes, and a few for pictures.

    Where maps of attention are compared with it, the box of each example's changes, too.
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
    if recipe.boxes:
        save_array(out / "changed" / "boxes.npy", budgets.changed_boxes(original, attacked))


def weights(recipe: WeightsRecipe, inputs: Inputs, out: Path, data_root: Path) -> None:
    """Store the files of existing weights, whose digests the victim's manifest names."""
    (out / "file").mkdir()
    for file in find(recipe, data_root):
        shutil.copyfile(file, out / "file" / file.name)


HOST_STAGES: dict[str, Callable[[Any, Inputs, Path, Path], None]] = {
    "data": planned_data,
    "slice": slice_,
    "goal": goal,
    "clean": clean,
    "apply": apply,
    "measure": measure,
    "decide": decide,
    "strongest": strongest,
    "survivors": survivors,
    "merge": merge,
    "weights": weights,
    "file": copy_file,
}
"""Table of host stages: functions of recipe, granted parts, output folder and data root."""
