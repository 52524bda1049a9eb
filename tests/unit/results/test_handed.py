"""Attacks in order: how many examples each was run on, and how many it broke."""

import numpy as np

from harness.results.handed import Played, steps

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
