"""Edits of a training set: counted, of the allowed kind, in the labels' form."""

from typing import Any

import numpy as np
import pytest

from harness.judge.budget import as_seen
from harness.judge.edits import check_edits

IDS = np.array([40, 10, 30, 20, 50])
IMAGES = np.full((5, 1, 4, 4), 51, np.uint8)
CLASSES = np.array([0, 1, 2, 0, 1])
CLASSIFY = {"task": "classification", "outputs": 3, "void": None}
FREE = {"edits": 2, "labels": True, "features": True}


def _check(ids: list[int], x: Any = None, y: Any = None, **changes: Any) -> str | None:
    return check_edits(
        np.array(ids, np.int64),
        None if x is None else np.asarray(x),
        None if y is None else np.asarray(y),
        train_ids=IDS,
        train_x=IMAGES,
        train_y=changes.pop("train_y", CLASSES),
        budget=FREE | changes.pop("budget", {}),
        spec=changes.pop("spec", CLASSIFY),
    )


def test_edits_within_the_budget() -> None:
    assert _check([]) is None
    assert _check([20, 10], y=[2, 0]) is None
    assert _check([20, 10], x=as_seen(IMAGES[:2]) + np.float32(0.5)) is None


def test_every_id_counts_even_unchanged() -> None:
    assert _check([10, 20, 30], y=[1, 0, 2]) == "3 edits, the limit is 2"
    assert _check([10], budget={"edits": 0}) == "1 edits, the limit is 0"


@pytest.mark.parametrize(
    ("ids", "verdict"),
    [
        ([10, 10], "an id is edited more than once: 1 of 2 edits"),
        ([10, 11], "an id is not in the training set: 1 of 2 edits"),
        ([99], "an id is not in the training set: 1 of 1 edits"),
        ([-1], "an id is not in the training set: 1 of 1 edits"),
    ],
)
def test_ids_are_unique_and_known(ids: list[int], verdict: str) -> None:
    assert _check(ids) == verdict


def test_ids_are_whole_numbers() -> None:
    verdict = check_edits(
        np.array([10.0]), None, None, train_ids=IDS, train_x=IMAGES, train_y=CLASSES,
        budget=FREE, spec=CLASSIFY,
    )  # fmt: skip
    assert verdict == "ids of edits must be whole numbers [E], got float64 of shape (1,)"


def test_rows_are_found_by_id_not_by_place() -> None:
    # ids 20 and 10 lie in rows 3 and 1, whose labels are 0 and 1.
    assert _check([20, 10], y=[0, 1], budget={"labels": False}) is None
    verdict = _check([20, 10], y=[1, 0], budget={"labels": False})
    assert verdict == "labels change, but the budget allows none: 2 of 2 edits"


def test_inputs_change_only_where_allowed() -> None:
    same = as_seen(IMAGES[:1])
    assert _check([10], x=same, budget={"features": False}) is None
    assert _check([10], x=same + np.float32(0.1), budget={"features": None}) == (
        "inputs change, but the budget allows labels only: 1 of 1 edits"
    )


def test_inputs_keep_norm_patch_and_box() -> None:
    x = as_seen(IMAGES[:2])
    x[0, 0, 0, 0] += np.float32(0.2)
    near = {"norm": "linf", "eps": 0.25}
    assert _check([10, 20], x=x, budget=near) is None
    assert _check([10, 20], x=x, budget={"patch": 1}) is None
    verdict = _check([10, 20], x=x, budget=near | {"eps": 0.1})
    assert verdict == (
        "edited inputs: L∞ distance is 0.2, the limit is 0.1 (tolerance 1e-06): 1 of 2 examples"
    )
    assert "the largest value is 1.2" in str(_check([10, 20], x=x + np.float32(0.8)))


@pytest.mark.parametrize(
    ("x", "y", "verdict"),
    [
        (
            np.zeros((1, 1, 4, 5), np.float32),
            None,
            "edited inputs have shape (1, 1, 4, 5), expected (1, 1, 4, 4)",
        ),
        (None, [[1]], "edited labels have shape (1, 1), expected (1,)"),
        (None, [1.0], "edited labels must be whole numbers, got float64"),
        (None, [3], "a label is not one of the 3 classes: 1 of 1 edits"),
        (None, [-1], "a label is not one of the 3 classes: 1 of 1 edits"),
    ],
)
def test_forms(x: Any, y: Any, verdict: str) -> None:
    assert _check([10], x=x, y=y) == verdict


MAPS = np.array([[[0, 1], [255, 2]]] * 5, np.uint8)
SEGMENT = {"task": "segmentation", "outputs": 3, "void": 255}


@pytest.mark.parametrize(
    ("y", "verdict"),
    [
        ([[2, 1], [255, 0]], None),
        ([[3, 1], [255, 2]], "a pixel's label is not one of the 3 classes: 1 of 1 edits"),
        ([[0, 1], [0, 2]], "the void pixels change: 1 of 1 edits"),
        ([[255, 1], [255, 2]], "the void pixels change: 1 of 1 edits"),
    ],
)
def test_class_maps(y: Any, verdict: str | None) -> None:
    assert _check([10], y=np.array([y], np.uint8), train_y=MAPS, spec=SEGMENT) == verdict


def test_class_maps_without_void() -> None:
    maps = np.zeros((5, 2, 2), np.uint8)
    spec = SEGMENT | {"void": None}
    verdict = _check([10], y=maps[:1] + 255, train_y=maps, spec=spec)
    assert verdict == "a pixel's label is not one of the 3 classes: 1 of 1 edits"


RANK = {"task": "ranking", "outputs": 2, "void": None}
PAIRS = np.array([[7, 8, 1, 0]] * 5)
TRIPLETS = np.array([[5, 7, 8, 1, 0]] * 5)
FORM = "a ranking edit may only turn a label's sign or swap the two compared items: 1 of 1 edits"


@pytest.mark.parametrize(
    ("train_y", "edit", "verdict"),
    [
        (PAIRS, [7, 8, 1, 0], None),
        (PAIRS, [7, 8, -1, 0], None),
        (PAIRS, [8, 7, 1, 0], None),
        (PAIRS, [7, 8, 0, 0], FORM),
        (PAIRS, [7, 8, -2, 0], FORM),
        (PAIRS, [7, 8, 1, 1], FORM),
        (PAIRS, [7, 7, 1, 0], FORM),
        (PAIRS, [7, 9, 1, 0], FORM),
        (TRIPLETS, [5, 8, 7, 1, 0], None),
        (TRIPLETS, [5, 7, 8, -1, 0], None),
        (TRIPLETS, [7, 5, 8, 1, 0], FORM),
        (TRIPLETS, [6, 7, 8, 1, 0], FORM),
    ],
)
def test_comparisons(train_y: np.ndarray, edit: list[int], verdict: str | None) -> None:
    assert _check([10], y=[edit], train_y=train_y, spec=RANK) == verdict


def test_items_cannot_be_edited() -> None:
    verdict = _check([10], x=as_seen(IMAGES[:1]), train_y=PAIRS, spec=RANK)
    assert verdict is not None
    assert verdict.startswith("inputs were edited")
