"""Host stages between attacks in order: which examples still stand, and whose input each keeps."""

import numpy as np
import pytest

from harness.common import files
from harness.common.files import save_array, write_json
from harness.planning.recipe import MergeRecipe, SurvivorsRecipe
from harness.running.hand_over import merge, standing, survivors

EYE = np.eye(3)


def subset(folder, y):
    save_array(folder / "x/x.npy", np.arange(len(y) * 2, dtype=np.uint8).reshape(-1, 2))
    for part in ("x", "y"):
        save_array(folder / part / "ids.npy", 100 + np.arange(len(y)))
    save_array(folder / "y/y.npy", y)
    write_json(folder / "spec.json", {"task": "classification"})
    return folder


def chosen(folder, y, before, after, **parts):
    """Run ``survivors`` and return its parts by name."""
    inputs = {"slice": subset(folder / "slice", y)}
    for name, array in {"before": before, "after": after}.items():
        save_array(folder / name / "outputs.npy", array)
        inputs[name] = folder / name
    files_of = {"goal": "goal", "rows": "rows", "asked": "counts"}
    for name, array in parts.items():
        save_array(folder / name / f"{files_of[name]}.npy", array)
        inputs[name] = folder / name
    survivors(SurvivorsRecipe(), inputs, folder / "out", folder)
    return {p.relative_to(folder / "out").as_posix(): np.load(p) for p in folder.rglob("out/*/*")}


def test_what_was_right_and_is_still_right_stands(tmp_path):
    y = np.array([0, 0, 1, 2])
    found = chosen(tmp_path, y, EYE[[0, 1, 1, 2]], EYE[[0, 0, 0, 2]])
    assert found["rows/rows.npy"].tolist() == [0, 3]
    assert found["rows/size.npy"].tolist() == [4]
    assert found["x/x.npy"].tolist() == [[0, 1], [6, 7]]
    assert found["x/ids.npy"].tolist() == found["y/ids.npy"].tolist() == [100, 103]
    assert found["y/y.npy"].tolist() == [0, 2]


def test_later_attacks_see_the_rows_of_the_one_before_by_their_places(tmp_path):
    y = np.array([0, 0, 1, 2])
    rows, after = np.array([0, 2, 3]), EYE[[1, 1, 2]]
    found = chosen(tmp_path, y, EYE[y], after, rows=rows, asked=np.array([5, 6, 7]))
    assert found["rows/rows.npy"].tolist() == [2, 3]
    assert found["spent/counts.npy"].tolist() == [6, 7]


def test_with_targets_a_row_stands_until_its_target_is_reached(tmp_path):
    y, goal = np.array([0, 0, 0]), np.array([1, 1, 0])
    found = chosen(tmp_path, y, EYE[y], EYE[[2, 1, 0]], goal=goal)
    assert found["rows/rows.npy"].tolist() == [0]  # the third one's target is its own class
    assert found["goal/goal.npy"].tolist() == [1]


def test_one_wrong_draw_of_a_random_network_breaks_a_row():
    before = np.stack([EYE[[0, 1]]] * 3)
    after = np.stack([EYE[[0, 1]], EYE[[0, 0]], EYE[[0, 1]]])
    assert standing(before, after, np.array([0, 1]), None).tolist() == [True, False]


def test_nothing_may_be_left(tmp_path):
    y = np.array([0, 1])
    found = chosen(tmp_path, y, EYE[y], EYE[[1, 0]])
    assert found["x/x.npy"].shape == (0, 2)
    assert found["rows/rows.npy"].shape == (0,)
    again = tmp_path / "again"
    found = chosen(again, y, EYE[y], np.zeros((0, 3)), rows=np.zeros(0, np.int64))
    assert found["y/y.npy"].shape == (0,)


@pytest.mark.parametrize("size", [16, 1 << 20])
def test_each_example_keeps_the_input_of_the_last_attack_that_had_it(tmp_path, monkeypatch, size):
    monkeypatch.setattr(files, "PART_BYTES", size)
    places = [np.arange(6), np.array([1, 3, 4, 5]), np.array([3, 5]), np.zeros(0, np.int64)]
    inputs = {}
    for number, rows in enumerate(places, 1):
        save_array(tmp_path / f"a{number}/x.npy", np.full((len(rows), 2), number, np.float32))
        save_array(tmp_path / f"r{number}/rows.npy", rows)
        inputs |= {f"attacked_{number}": tmp_path / f"a{number}"}
        inputs |= {f"rows_{number}": tmp_path / f"r{number}"} if number > 1 else {}
    merge(MergeRecipe(len(places)), inputs, tmp_path / "out", tmp_path)
    found = np.load(tmp_path / "out/attacked/x.npy")
    assert found.dtype == np.float32
    assert found[:, 0].tolist() == [1, 2, 1, 3, 2, 3]
