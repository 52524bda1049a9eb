"""Distances of the nearest wrong inputs: what counts, and the interval of their median."""

import numpy as np
import pytest
from scipy.stats import binom

from harness.judge import nearest
from harness.judge.budget import check_perturbation, measure
from harness.judge.values import Absent, Rate


@pytest.mark.parametrize("n", [6, 7, 20, 101, 1000])
def test_the_interval_covers_the_median_as_often_as_it_says(n):
    """Exactly: the ranks between which the median of n draws lies with 95 % at least, no wider."""
    lo, hi = nearest.median_interval(np.arange(1.0, n + 1))
    inside = binom.cdf(hi - 1, n, 0.5) - binom.cdf(lo - 1, n, 0.5)
    narrower = binom.cdf(hi - 2, n, 0.5) - binom.cdf(lo, n, 0.5)
    assert lo + hi == n + 1
    assert inside >= 0.95 > narrower


def test_few_examples_have_no_interval():
    assert nearest.median_interval(np.arange(5.0)) is None


def test_an_infinite_end_is_no_interval():
    assert nearest.median_interval(np.r_[np.zeros(50), np.full(50, np.inf)]) is None


def figure(distances):
    return nearest.distance_figures(np.array(distances))[nearest.MEDIAN]


def test_a_median_may_be_infinite_never_a_mean():
    assert figure([0, 0.5, 2, np.inf, 1]) == Rate(1.0, None, None, 0.95, "order statistics")
    assert figure([0, 1, np.inf, np.inf]) == Absent(nearest.TOO_FEW)
    assert isinstance(figure([]), Absent)


def test_what_is_wrong_already_is_no_way_off_and_what_stays_right_is_never_reached():
    right, after = np.array([1, 1, 0, 0], bool), np.array([0, 1, 0, 1], bool)
    found = nearest.nearest(right, after, np.full(4, 0.25))
    assert found.tolist() == [0.25, np.inf, 0, 0]


def test_a_radius_counts_with_the_tolerance_of_budgets():
    assert nearest.within(np.array([8 / 255 + 9e-7, 8 / 255 + 2e-6]), "linf", 8 / 255).tolist() == [
        True,
        False,
    ]
    assert nearest.within(np.array([0.5 * (1 + 9e-6), 0.5 * (1 + 2e-5)]), "l2", 0.5).tolist() == [
        True,
        False,
    ]


def test_no_distance_is_over_a_budget_that_asks_for_the_nearest():
    clean = np.zeros((2, 1, 2, 2), np.uint8)
    for value, sentence in ((1.0, None), (1.1, "the largest value is 1.1, the limit is 1")):
        distances = measure(clean, np.full((2, 1, 2, 2), value, np.float32))
        found = check_perturbation(distances, {"norm": "l2", "minimal": True})
        assert (found and found[: len("the largest value is 1.1")]) == (sentence and sentence[:24])
