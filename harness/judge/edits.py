"""Check of a training set's edits against the budget: number, kind and distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.judge.budget import TOLERANCE, Array, BudgetFields, check_perturbation, measure
from harness.judge.overlay import Overlay, check_overlay, edit_limits

Integers = NDArray[np.int64]
SpecFields = Mapping[str, Any]


def check_edits(
    ids: Integers,
    x: Array | None,
    y: Array | None,
    *,
    train_ids: Integers,
    train_x: Array,
    train_y: Array,
    budget: BudgetFields,
    spec: SpecFields,
    overlay: Overlay | None = None,
) -> str | None:
    """Check that edits keep the budget and the format of the labels.

    Every id counts, even if its example is unchanged: the budget limits the number of examples that
    an attack may edit. Labels or inputs count as changed only if a value changes.

    Args:
        ids: ``[E]``, the edited examples.
        x: replaced inputs float32 ``[E, …]``, or ``None``.
        y: replaced labels ``[E]`` or ``[E, …]``, or ``None``.
        train_ids: ``[N]``, ids of the whole training set.
        train_x: its stored inputs ``[N, …]``; read only at the edited rows, and not at all in
            ranking, where inputs are items and cannot be edited.
        train_y: its labels ``[N, …]``.
        budget: ``edits`` (a count), ``labels``, ``features``, and where inputs may change
            optionally ``norm`` with ``eps``, ``patch`` or ``pixels``.
        spec: ``task``, ``outputs``, ``void``.
        overlay: trigger on the edited examples, or ``None``.

    Returns:
        ``None``, or one sentence with the fault, the worst value, the limit, the number of edits.

    >>> labels, known = np.array([0, 1, 2]), np.array([10, 11, 12])
    >>> check_edits(np.array([11]), None, np.array([3]), train_ids=known,
    ...     train_x=np.zeros((3, 1, 2, 2), np.uint8), train_y=labels,
    ...     budget={"edits": 1, "labels": True}, spec={"task": "classification", "outputs": 3})
    'a label is not one of the 3 classes: 1 of 1 edits'
    """
    rows_or_fault = _edited_rows(ids, train_ids, int(budget["edits"]))
    if isinstance(rows_or_fault, str):
        return rows_or_fault
    rows = rows_or_fault
    if y is not None and (fault := _check_labels(y, train_y[rows], budget, spec)):
        return fault
    if x is None and overlay is None:
        return None
    if spec["task"] == "ranking":
        return "inputs were edited, but a ranking edit may only turn a label or swap two items"
    if overlay is not None:
        if x is not None:
            return "edits have new inputs and an overlay, and their changes would add up"
        return check_overlay(overlay, ids, train_x.shape[1:], budget)
    assert x is not None
    if x.shape != (len(rows), *train_x.shape[1:]):
        return f"edited inputs have shape {x.shape}, expected {(len(rows), *train_x.shape[1:])}"
    return _check_inputs(x, train_x, rows, budget)


def find_rows(ids: Integers, known: Integers) -> Integers:
    """Return the row of each id in ``known``; an arbitrary row for an unknown id.

    >>> find_rows(np.array([30, 10]), np.array([10, 20, 30])).tolist()
    [2, 0]
    """
    order = np.argsort(known, kind="stable")
    position = np.searchsorted(known, ids, sorter=order)
    rows: Integers = order[np.minimum(position, len(order) - 1)] if len(order) else position
    return rows


def _edited_rows(ids: Integers, train_ids: Integers, limit: int) -> Integers | str:
    """Return the edited rows of the training set, or a sentence about the fault in the ids."""
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        return f"ids of edits must be whole numbers [E], got {ids.dtype} of shape {ids.shape}"
    if len(ids) > limit:
        return f"{len(ids)} edits, the limit is {limit}"
    repeated = len(ids) - len(np.unique(ids))
    if repeated:
        return f"an id is edited more than once: {repeated} of {len(ids)} edits"
    rows = find_rows(ids, train_ids)
    unknown = train_ids[rows] != ids if len(train_ids) else np.ones(len(ids), bool)
    if unknown.any():
        return f"an id is not in the training set: {int(unknown.sum())} of {len(ids)} edits"
    return rows


def _check_inputs(x: Array, train_x: Array, rows: Integers, budget: BudgetFields) -> str | None:
    distances = measure(train_x, x, rows, ssim=False)
    fault = check_perturbation(distances, edit_limits(budget))
    if fault:
        return f"edited inputs: {fault}"
    moved = int(np.sum(distances.linf > TOLERANCE))
    if moved and not budget.get("features"):
        return f"inputs change, but the budget allows labels only: {moved} of {len(x)} edits"
    return None


def _check_labels(y: Array, original: Array, budget: BudgetFields, spec: SpecFields) -> str | None:
    if y.shape != original.shape:
        return f"edited labels have shape {y.shape}, expected {original.shape}"
    if not np.issubdtype(y.dtype, np.integer):
        return f"edited labels must be whole numbers, got {y.dtype}"
    changed = _per_edit(y != original)
    if changed.any() and not budget.get("labels"):
        return f"labels change, but the budget allows none: {_count(changed)}"
    return _LABEL_CHECKS[spec["task"]](y, original, spec)


def _check_classes(y: Array, original: Array, spec: SpecFields) -> str | None:
    outside = (y < 0) | (y >= spec["outputs"])
    if outside.any():
        return f"a label is not one of the {spec['outputs']} classes: {_count(outside)}"
    return None


def _check_maps(y: Array, original: Array, spec: SpecFields) -> str | None:
    void = spec.get("void")
    empty, was_empty = (
        np.zeros(m.shape, bool) if void is None else m == void for m in (y, original)
    )
    outside = _per_edit(~empty & ((y < 0) | (y >= spec["outputs"])))
    if outside.any():
        return f"a pixel's label is not one of the {spec['outputs']} classes: {_count(outside)}"
    changed = _per_edit(empty != was_empty)
    if changed.any():
        return f"the void pixels change: {_count(changed)}"
    return None


def _check_comparisons(y: Array, original: Array, spec: SpecFields) -> str | None:
    """Check that edits change only the sign of a label or the order of the compared items."""
    same = np.delete(y, _FREE, axis=1) == np.delete(original, _FREE, axis=1)
    items = np.sort(y[:, -4:-2], axis=1) == np.sort(original[:, -4:-2], axis=1)
    sign = np.abs(y[:, -2]) == np.abs(original[:, -2])
    broken = ~(same.all(axis=1) & items.all(axis=1) & sign)
    if broken.any():
        return (
            "a ranking edit may only turn a label's sign or swap the two compared items: "
            f"{_count(broken)}"
        )
    return None


_FREE = (-4, -3, -2)  # columns: the two compared items and the label, for pairs and triplets alike

_LABEL_CHECKS = {
    "classification": _check_classes,
    "segmentation": _check_maps,
    "ranking": _check_comparisons,
}


def _per_edit(bits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(np.any(bits, axis=tuple(range(1, bits.ndim))))


def _count(bits: NDArray[np.bool_]) -> str:
    return f"{int(bits.sum())} of {len(bits)} edits"
