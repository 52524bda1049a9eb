"""Overlays of training sets: of the allowed kind and size, on pictures that are edited."""

import numpy as np
import pytest

from harness.judge.budget import as_seen
from harness.judge.edits import check_edits
from harness.judge.overlay import Overlay, largest_change

IDS = np.array([40, 10, 30, 20, 50])
IMAGES = np.full((5, 1, 8, 8), 51, np.uint8)
FREE = {"edits": 3, "labels": True, "features": True}


def overlay(ids=(20, 10), patch=None, mask=None, places=None):
    patch = np.ones((1, 2, 3), np.float32) if patch is None else np.array(patch, np.float32)
    mask = np.ones_like(patch) if mask is None else np.array(mask, np.float32)
    places = np.zeros((len(ids), 2), np.int64) if places is None else np.array(places)
    return Overlay(np.array(ids, np.int64), patch, mask, places)


def check(given, ids=(20, 10, 50), x=None, task="classification", **budget):
    return check_edits(
        np.array(ids), x, None, train_ids=IDS, train_x=IMAGES, train_y=np.zeros(5, np.int64),
        budget=FREE | budget, spec={"task": task, "outputs": 3, "void": None}, overlay=given,
    )  # fmt: skip


CORNERS = np.zeros((1, 8, 8), np.float32)
CORNERS[:, [0, 0, 7, 7], [0, 7, 0, 7]] = 1


@pytest.mark.parametrize(
    ("given", "budget", "verdict"),
    [
        (overlay(), {}, None),
        (overlay(()), {"patch": 1}, None),
        (overlay(places=[[6, 5], [0, 0]]), {"patch": 3, "pixels": 6}, None),
        (overlay(), {"patch": 2}, "width of the changed box is 3, the limit is 2"),
        (overlay(), {"pixels": 5}, "number of changed pixels is 6, the limit is 5"),
        (overlay(patch=CORNERS, mask=CORNERS), {"pixels": 4}, None),
        (overlay(patch=CORNERS, mask=CORNERS), {"patch": 4}, "height of the changed box is 8"),
        (overlay(mask=np.full((1, 2, 3), 0.25)), {"norm": "linf", "eps": 0.25}, None),
        (
            overlay(mask=np.full((1, 2, 3), 0.3)),
            {"norm": "linf", "eps": 0.25},
            "L∞ distance is 0.30000001, the limit is 0.25 (tolerance 1e-06)",
        ),
        (overlay(), {"norm": "l2", "eps": 2.4}, "L2 distance is 2.4494897, the limit is 2.4"),
    ],
)
def test_an_overlay_keeps_the_limits_on_every_picture(given, budget, verdict):
    found = check(given, **budget)
    if verdict is None:
        assert found is None
    else:
        assert found.startswith(f"overlay: {verdict}")
        assert found.endswith(": 2 of 2 examples")


@pytest.mark.parametrize("seed", range(5))
def test_no_picture_changes_more_than_what_is_measured(seed):
    random = np.random.default_rng(seed)
    given = overlay(patch=random.random((3, 4, 5)), mask=random.random((3, 4, 5)))
    clean = random.integers(0, 2, (50, 3, 8, 8)).astype(np.float32)
    change = np.abs(given.put_on(clean, np.full(50, 20)) - clean)
    most = largest_change(given)
    assert change.max() <= most.linf[0] + 1e-6
    assert np.sqrt(np.square(change).sum(axis=(1, 2, 3))).max() <= most.l2[0] + 1e-5
    assert change.any(axis=1).sum(axis=(1, 2)).max() <= most.changed[0] == 20


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (overlay([20, 30]), "an overlay's id is not among the edits: 1 of 2"),
        (overlay([20, 20]), "an overlay has an id more than once: 1 of 2"),
        (
            overlay(patch=[[[0, np.nan, 1.5]]]),
            "an overlay's patch has values outside [0, 1]: 2 of 3",
        ),
        (overlay(mask=np.full((1, 2, 3), -1)), "an overlay's mask has values outside [0, 1]: 6 of"),
        (
            overlay(places=[[0, 0], [7, 0]]),
            "an overlay [1, 2, 3] leaves the picture: 1 of 2",
        ),
        (overlay(places=[[0, -1], [0, 6]]), "an overlay [1, 2, 3] leaves the picture: 2 of 2"),
        (overlay(patch=np.ones((1, 9, 9))), "an overlay [1, 9, 9] leaves the picture: 2 of 2"),
        (overlay(patch=np.ones((3, 2, 2))), "an overlay [3, 2, 2] on inputs [1, 8, 8]"),
    ],
)
def test_an_overlay_that_is_none_is_refused(given, verdict):
    assert check(given).startswith(verdict)


def test_more_edits_than_the_share_are_refused_with_an_overlay_too():
    assert check(overlay(), edits=2) == "3 edits, the limit is 2"


def test_an_overlay_changes_inputs():
    verdict = "inputs change, but the budget allows labels only: 2 edits"
    assert check(overlay(), features=False) == verdict
    assert check(overlay(mask=np.zeros((1, 2, 3))), features=False) is None


def test_changes_of_two_kinds_would_add_up():
    x = as_seen(IMAGES[:3])
    assert (
        check(overlay(), x=x)
        == "edits have new inputs and an overlay, and their changes would add up"
    )


def test_ranking_has_no_overlay():
    assert check(overlay(), task="ranking").startswith("inputs were edited, but a ranking edit")
