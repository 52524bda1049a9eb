"""Pixels with a target, against a plain count; and their figure."""

import numpy as np
import pytest

from harness.judge.metrics import Absent, Aimed, Rate, aimed, confusion, segmentation
from harness.results import codec

VOID, K = 255, 4


def scene(seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, K, (5, 7, 6)).astype(np.uint8)
    before, after = (np.where(rng.random(y.shape) < right, y, rng.integers(0, K, y.shape))
                     for right in (0.8, 0.3))  # fmt: skip
    goal = rng.integers(0, K, y.shape)
    y[rng.random(y.shape) < 0.1] = VOID
    return before, after, y, goal


@pytest.mark.parametrize("seed", range(3))
def test_counts_of_targets_are_those_of_a_plain_loop(seed):
    before, after, y, goal = scene(seed)
    found = aimed(before, after, y, goal, VOID)
    for i in range(len(y)):
        asked = reached = wrong = 0
        for first, last, truth, wanted in zip(
            before[i].flat, after[i].flat, y[i].flat, goal[i].flat, strict=True
        ):
            if truth != VOID and first == truth != wanted:
                asked += 1
                reached += last == wanted
                wrong += last != truth
        counts = (found.asked[i], found.reached[i], found.wrong[i])
        assert counts == (asked, reached, wrong)


def test_the_figure_is_pooled_over_images_with_an_interval():
    before, after, y, goal = scene(0)
    targets = aimed(before, after, y, goal, VOID)
    counts = [confusion(maps, y, K, VOID) for maps in (before, after)]
    rate = segmentation(*counts, targets=targets).metrics["targeted_success_rate"]
    assert isinstance(rate, Rate)
    assert rate.value == targets.reached.sum() / targets.asked.sum()
    assert rate.lo < rate.value < rate.hi


def test_without_targets_the_figure_is_left_out_or_absent_with_a_reason():
    before, after, y, _ = scene(1)
    counts = [confusion(maps, y, K, VOID) for maps in (before, after)]
    assert "targeted_success_rate" not in segmentation(*counts).metrics
    why = Absent("other labels")
    assert segmentation(*counts, targets=why).metrics["targeted_success_rate"] == why
    none = aimed(before, after, y, y, VOID)
    found = segmentation(*counts, targets=none).metrics["targeted_success_rate"]
    assert isinstance(found, Absent)
    assert "target class" in found.reason


def test_a_record_holds_the_counts():
    targets = aimed(*scene(2), VOID)
    part = {"shape": [5, K, K + 1], "targets": codec.pack_aimed(targets)}
    read = codec.unpack_aimed(part)
    assert isinstance(read, Aimed)
    for name in ("asked", "reached", "wrong"):
        np.testing.assert_array_equal(getattr(read, name), getattr(targets, name))
    assert codec.unpack_aimed({"shape": [5, K, K + 1]}) is None
    with pytest.raises(ValueError, match="bytes"):
        codec.unpack_aimed(part | {"shape": [6, K, K + 1]})
