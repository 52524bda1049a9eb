"""Host stage ``strongest``: which input of each example it keeps."""

import numpy as np
import pytest

from harness.common import files
from harness.common.files import save_array, write_json
from harness.planning.recipe import StrongestRecipe
from harness.running.strongest import LEAST, shrink, strength, strongest


@pytest.mark.parametrize(
    ("goal", "void", "expected"),
    [(None, None, [0, 1, 1]), (np.array([1, 1, 2]), None, [0, 1, 0])],
)
def test_each_example_keeps_the_strongest_input(tmp_path, goal, void, expected) -> None:
    y = np.array([0, 0, 0])
    outputs = [
        np.array([[1.0, 4.0, 0.0], [3.0, 0.0, 0.0], [2.0, 0.0, 1.0]]),
        np.array([[1.0, 2.0, 0.0], [3.0, 1.0, 0.0], [np.nan, 0.0, 0.0]]),
    ]
    if goal is not None:
        outputs[1][2] = [2.0, 1.5, 0.0]
    chosen = run(tmp_path, y, outputs, goal, void)
    assert chosen.tolist() == expected


def test_maps_are_compared_by_pixels_that_count(tmp_path) -> None:
    y = np.array([[[0, 255], [1, 1]]], np.uint8)
    outputs = [np.array([[[1, 3], [1, 1]]], np.uint8), np.array([[[1, 3], [0, 1]]], np.uint8)]
    assert run(tmp_path, y, outputs, None, 255).tolist() == [1]
    assert strength(outputs[1], y, None, 255).tolist() == [2 / 3]
    assert strength(outputs[0], y, y, 255).tolist() == [2 / 3]


def test_draws_of_a_random_network_are_averaged() -> None:
    y = np.array([0])
    draws = np.array([[[1.0, 0.0]], [[0.0, 3.0]]])
    assert strength(draws, y, None, None).tolist() == [1.0]
    maps = np.array([[[[0, 1]]], [[[1, 1]]]], np.uint8)
    assert strength(maps, maps[0], None, None).tolist() == [0.25]


def shrunk(clean, attacked):
    return np.concatenate([*shrink(clean, attacked)])


def test_shrunk_changes_keep_their_sign_and_lie_within_the_radius(tmp_path) -> None:
    stored = np.full((4, 3, 5, 5), 128, np.uint8)
    clean = stored / np.float32(255)
    attacked = clean + np.where(np.arange(5) < 3, 0.125, -0.125).astype(np.float32)
    factor = (shrunk(stored, attacked) - clean) / (attacked - clean)
    assert factor.min() >= LEAST
    assert factor.max() <= 1
    assert 0.93 < factor.mean() < 0.97
    assert (factor == 1).mean() < 0.01
    assert np.array_equal(shrunk(clean, attacked), shrunk(clean, attacked))
    other = shrunk(clean, attacked + np.float32(1e-3))
    assert not np.allclose((other - clean) / (attacked + 1e-3 - clean), factor, atol=1e-3)


@pytest.mark.parametrize("shrunk", [False, True])
def test_parts_change_no_bit(tmp_path, monkeypatch, shrunk) -> None:
    random, y = np.random.default_rng(0), np.arange(20) % 3
    save_array(tmp_path / "slice/x/x.npy", random.integers(0, 256, (20, 1, 4, 4), dtype=np.uint8))
    save_array(tmp_path / "slice/y/y.npy", y)
    write_json(tmp_path / "slice/spec.json", {"void": None})
    inputs = {"slice": tmp_path / "slice"}
    for n in range(3):
        save_array(tmp_path / f"{n}/x.npy", random.random((20, 1, 4, 4), dtype=np.float32))
        save_array(tmp_path / f"{n}/outputs.npy", random.random((20, 3)))
        inputs |= {f"attacked_{n}": tmp_path / str(n), f"outputs_{n}": tmp_path / str(n)}

    def stored(size):
        monkeypatch.setattr(files, "PART_BYTES", size)
        out = tmp_path / f"out-{size}"
        strongest(StrongestRecipe(3, shrunk=shrunk), inputs, out, tmp_path)
        assert [path.name for path in (out / "attacked").iterdir()] == ["x.npy"]
        return (out / "attacked" / "x.npy").read_bytes()

    assert stored(200) == stored(1 << 20)


def run(tmp_path, y, outputs, goal, void):
    """Return the number of the attack whose input each example keeps."""
    folder = tmp_path / "slice"
    save_array(folder / "y" / "y.npy", y)
    write_json(folder / "spec.json", {"void": void})
    inputs = {"slice": folder}
    if goal is not None:
        save_array(tmp_path / "goal" / "goal.npy", goal)
        inputs["goal"] = tmp_path / "goal"
    for number, each in enumerate(outputs):
        save_array(tmp_path / f"o{number}" / "outputs.npy", each)
        save_array(tmp_path / f"a{number}" / "x.npy", np.full((len(y), 2), number, np.float32))
        inputs |= {
            f"outputs_{number}": tmp_path / f"o{number}",
            f"attacked_{number}": tmp_path / f"a{number}",
        }
    strongest(StrongestRecipe(len(outputs), shrunk=False), inputs, tmp_path / "out", tmp_path)
    choice = np.load(tmp_path / "out" / "choice" / "choice.npy")
    assert np.array_equal(np.load(tmp_path / "out" / "attacked" / "x.npy")[:, 0], choice)
    return choice
