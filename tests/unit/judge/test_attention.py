"""Attention maps against hand-made ones: masses, peaks, boxes and the three conditions."""

import numpy as np
import pytest

from harness.judge.attention import (
    Looks,
    attention_figures,
    crop_boxes,
    find_places,
    is_flat,
    look,
)
from harness.judge.budget import changed_boxes

NONE = [0, 0, 0, 0]


def boxes(*rows):
    return np.array(rows, np.int64).reshape(-1, 4)


def maps(*grids):
    return np.array(grids, np.float32)


def places(objects, triggers, side=8):
    return find_places(None if objects is None else boxes(*objects), boxes(*triggers), (side, side))


def test_the_mass_is_what_lies_in_the_box_of_the_map_without_its_lowest_value():
    one = maps([[1, 3], [2, 1]])  # 2 and 1 above the lowest value
    assert look(one, boxes([4, 0, 8, 4]), (8, 8)).mass == pytest.approx(2 / 3)
    assert look(one, boxes([0, 0, 8, 4]), (8, 8)).mass == pytest.approx(2 / 3)
    assert look(one, boxes([0, 0, 8, 8]), (8, 8)).mass == pytest.approx(1)
    assert look(one, boxes([0, 0, 4, 4]), (8, 8)).mass == pytest.approx(0)


def test_a_box_that_covers_a_part_of_a_cell_gets_that_part():
    hot = maps([[0, 0], [0, 5]])
    assert look(hot, boxes([6, 6, 8, 8]), (8, 8)).mass == pytest.approx(1 / 4)
    assert look(hot, boxes([3, 4, 5, 8]), (8, 8)).mass == pytest.approx(1 / 4)


def test_lines_and_columns_are_not_exchanged():
    hot = np.zeros((1, 2, 4), np.float32)
    hot[0, 1, 2] = 1
    found = look(hot, boxes([4, 3, 6, 6]), (6, 8))  # columns 4 and 5, the lower half
    assert found.mass == pytest.approx(1)
    assert found.inside.all()


@pytest.mark.parametrize(
    ("box", "inside", "near"),
    [
        ([4, 4, 8, 8], True, True),  # the peak is the middle of the hot cell: 5, 5
        ([0, 0, 4, 4], False, True),  # one cell of 2 pixels beside it
        ([0, 0, 3, 3], False, True),
        ([0, 0, 2, 2], False, False),
        ([0, 4, 2, 8], False, False),  # on its height, but too far to the left
    ],
)
def test_the_peak_is_in_the_box_or_one_cell_beside_it(box, inside, near):
    hot = np.zeros((1, 4, 4), np.float32)
    hot[0, 2, 2] = 1
    found = look(hot, boxes(box), (8, 8))
    assert (bool(found.inside[0]), bool(found.near[0])) == (inside, near)


def test_a_flat_map_and_a_missing_box_have_no_figure():
    found = look(maps([[2, 2], [2, 2]], [[0, 1], [0, 0]]), boxes([0, 0, 8, 8], NONE), (8, 8))
    assert np.isnan(found.mass).all()
    assert is_flat(maps([[2, 2], [2, 2]], [[0, 1], [0, 0]])).tolist() == [True, False]
    assert not found.inside.any()
    assert not found.near.any()


def test_the_box_of_a_change_is_found_by_comparing():
    clean = np.full((3, 3, 6, 6), 51, np.uint8)
    attacked = np.full((3, 3, 6, 6), 0.2, np.float32)
    attacked[0, 2, 4:, 3:5] = 1
    attacked[1, 0, 0, 0] = attacked[1, 0, 5, 5] = 0
    assert changed_boxes(clean, attacked).tolist() == [[3, 4, 5, 6], [0, 0, 6, 6], NONE]


def test_boxes_follow_the_crop_and_are_clipped():
    # the rule of a picture of 256 pixels whose middle of 224 networks see
    found = crop_boxes(boxes([16, 16, 240, 240], [0, 0, 20, 16], [100, 0, 300, 50]), [3, 256, 256],
                       [3, 224, 224])  # fmt: skip
    assert found.tolist() == [[0, 0, 224, 224], [0, 0, 4, 0], [84, 0, 224, 34]]


def test_boxes_outside_over_the_trigger_or_everywhere_are_dropped_and_said():
    objects = [[0, 0, 4, 4], [0, 0, 7, 7], [5, 0, 5, 3], [0, 0, 4, 4], [0, 0, 2, 2]]
    triggers = [[6, 6, 8, 8], [6, 6, 8, 8], [6, 6, 8, 8], NONE, [0, 0, 8, 8]]
    found = places(objects, triggers)
    assert found.objects[[0, 1, 3]].tolist() == [[0, 0, 4, 4], NONE, [0, 0, 4, 4]]
    assert found.triggers.tolist() == [[6, 6, 8, 8], NONE, [6, 6, 8, 8], NONE, NONE]
    assert found.dropped == (
        "1 of 5 examples without an object's box inside the picture",
        "1 of 5 examples unchanged by the attack",
        "1 of 5 examples changed all over (more than 50% of the picture)",
        "1 of 5 examples whose object's box overlaps the trigger's",
    )


def test_a_data_set_without_boxes_has_figures_of_the_trigger_alone():
    found = places(None, [[6, 6, 8, 8]])
    assert found.dropped == ("the data set has no boxes of objects",)
    figures = attention_figures(Looks(maps([[1, 0], [0, 1]]), maps([[0, 0], [0, 1]]), found))
    assert figures["trigger_mass_clean"].value == pytest.approx(1 / 8)
    assert figures["trigger_mass_attacked"].value == pytest.approx(1 / 4)
    assert figures["at_trigger"].value == 1
    assert "absent" in figures["object_mass_clean"].to_json()
    assert "absent" in figures["at_object_clean"].to_json()


def looks():
    """Two networks' worth of examples: one turns to the trigger, one stays at the object."""
    at_object, at_trigger = [[9, 1], [0, 1]], [[1, 1], [0, 9]]
    found = places([[0, 0, 4, 4]] * 2, [[6, 6, 8, 8]] * 2)
    return Looks(maps(at_object, at_object), maps(at_trigger, at_object), found)


def test_the_conditions():
    found = looks()
    assert found.at_object_clean.tolist() == [True, True]
    assert found.at_trigger.tolist() == [True, False]
    assert found.at_object_attacked.tolist() == [False, True]


def test_a_map_that_lay_at_the_trigger_before_has_not_moved_there():
    there = maps([[1, 1], [0, 9]])
    found = Looks(there, there, places([[0, 0, 4, 4]], [[6, 6, 8, 8]]))
    assert not found.at_trigger.any()


def test_half_of_the_mass_must_lie_on_the_object():
    spread = maps([[4, 3], [0, 3]])  # the peak is there, 4 of 10 of the mass
    assert not Looks(spread, spread, places([[0, 0, 4, 4]], [NONE])).at_object_clean.any()


def test_figures_hold_median_quartiles_and_counts():
    figures = attention_figures(looks())
    found = figures["at_trigger"].to_json()
    assert (found["k"], found["n"]) == (1, 2)
    masses = figures["object_mass_attacked"].to_json()
    assert masses["method"] == "quartiles"
    assert masses["n"] == 2
    assert masses["lo"] < masses["value"] < masses["hi"]
    assert figures["object_area"].value == pytest.approx(16 / 64)
    peaks = {name: figures[f"{name}_attacked"].k for name in ("object_peak", "trigger_peak")}
    assert peaks == {"object_peak": 1, "trigger_peak": 1}
