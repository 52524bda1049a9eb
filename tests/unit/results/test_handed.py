"""Attacks in order: how many examples each was run on, and how many it broke."""

import numpy as np
import pytest

from harness.common.files import save_array
from harness.results.handed import Played, decisive, steps

ELIGIBLE = np.array([1, 1, 1, 1, 0], bool)
SUCCESS = np.array([1, 1, 0, 0, 0], bool)


def told(attacks, labels):
    found = steps(attacks, labels, {"eligible": ELIGIBLE, "success": SUCCESS})
    return [(one.attack, one.examples, one.broken) for one in found]


def test_the_first_gets_all_and_what_is_broken_adds_up():
    attacks = [Played("a"), Played("b", np.array([1, 2, 3])), Played("c", np.array([2, 3]))]
    assert told(attacks, {"a": "x", "b": "x", "c": "y"}) == [("a", 5, 1), ("b", 3, 1), ("c", 2, 0)]
    assert told(attacks[:1], {"a": "x"}) == [("a", 5, 2)]


def test_one_attack_has_no_steps():
    assert steps([Played("a")], {}, {}) is None


@pytest.mark.parametrize("draws", [0, 2])
def test_an_example_is_judged_by_the_prediction_for_which_it_was_not_handed_on(tmp_path, draws):
    class Parts:
        def part(self, key, name):
            return tmp_path / key

    def outputs(values):
        one = np.array(values, float)[:, None] * np.ones(2)
        return np.stack([one] * draws) if draws else one

    save_array(tmp_path / "after_1/outputs.npy", outputs([10, 11, 12, 13]))
    save_array(tmp_path / "after_2/outputs.npy", outputs([21, 23]))
    attacks = [
        Played("a", None, "after_1"),
        Played("b", np.array([1, 3]), "after_2"),
        Played("c", np.array([3])),
    ]
    found = decisive(attacks, Parts(), outputs([0, 1, 2, 3]))
    assert np.array_equal(found, outputs([10, 21, 12, 3]))
    assert np.array_equal(decisive(attacks[:1], Parts(), found), found)
