"""Predictions and certificates from votes, against scipy's exact tests and closed forms."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from harness.judge.smoothing import (
    Certificates,
    Setting,
    certified_figures,
    certified_radii,
    certify,
    contradiction,
    lower_bound,
    predict,
    too_few,
)


@pytest.mark.parametrize(("k", "n"), [(99, 100), (50, 100), (1, 100), (870, 1000), (1000, 1000)])
@pytest.mark.parametrize("alpha", [0.001, 0.05])
def test_the_bound_is_the_exact_interval_of_scipy(k, n, alpha):
    # a one-sided bound at 1 − α is the lower end of the two-sided interval at 1 − 2α
    exact = binomtest(k, n).proportion_ci(1 - 2 * alpha, "exact").low
    assert lower_bound(np.array([k]), n, alpha)[0] == pytest.approx(exact, abs=1e-12)


def test_no_success_bounds_nothing():
    assert lower_bound(np.array([0]), 10, 0.001).tolist() == [0]


def test_unanimous_votes_certify_the_closed_form():
    n, alpha, sigma = 100_000, 0.001, 0.5
    found = certify(np.array([[100, 0]]), np.array([[n, 0]]), n, noise=sigma, alpha=alpha)
    assert found.classes.tolist() == [0]
    assert found.radii[0] == pytest.approx(sigma * norm.ppf(alpha ** (1 / n)), rel=1e-9)


def test_what_is_not_a_majority_is_not_certified():
    selection, counts = np.array([[9, 1], [9, 1]]), np.array([[520, 480], [980, 20]])
    found = certify(selection, counts, 1000, noise=1.0, alpha=0.001)
    assert found.classes.tolist() == [-1, 0]
    assert found.radii[0] == 0 < found.radii[1]


def test_the_class_is_chosen_by_other_votes_than_those_that_count():
    found = certify(np.array([[1, 9]]), np.array([[1000, 0]]), 1000, noise=1.0, alpha=0.001)
    assert found.classes.tolist() == [-1]


def test_an_answer_that_was_no_number_is_no_vote_for_a_class():
    counts = np.array([[900, 0]])  # 100 of 1,000 were not finite
    found = certify(np.array([[10, 0]]), counts, 1000, noise=1.0, alpha=0.001)
    bound = lower_bound(np.array([900]), 1000, 0.001)[0]
    assert found.radii[0] == pytest.approx(norm.ppf(bound))


@pytest.mark.parametrize(
    "votes", [(60, 40), (70, 30), (55, 40), (0, 0), (1, 0), (11, 0), (500, 430)]
)
def test_a_prediction_abstains_where_the_exact_test_does_not_decide(votes):
    counts = np.array([[*votes, 5]]) if sum(votes) > 20 else np.array([[*votes, 0]])
    first, second = np.sort(counts[0])[::-1][:2]
    decided = first + second > 0 and binomtest(int(first), int(first + second)).pvalue <= 0.001
    assert np.isfinite(predict(counts, max(1, counts.sum()), 0.001)).all() == decided


def test_an_abstention_and_a_wrong_class_have_no_radius():
    found = Certificates(np.array([2, 1, -1]), np.array([0.4, 0.4, 0.0]))
    radii = certified_radii(found, np.array([2, 2, 2]))
    assert radii.tolist() == [0.4, 0, 0]
    figures = certified_figures(radii, 0.39)
    assert figures["certified_accuracy"].value == pytest.approx(1 / 3)
    assert figures["average_certified_radius"].value == pytest.approx(0.4 / 3)
    assert "certified_accuracy" not in certified_figures(radii, None)


def test_votes_are_too_few_where_the_exact_test_says_so():
    setting, radius = Setting(0.25, 200, 0.001), 0.3
    for length in (0.0, 0.2, 0.3, 0.6):
        share = norm.cdf((radius - length) / 0.25)
        own = np.arange(201)
        wanted = [binomtest(int(k), 200, share, "less").pvalue <= 0.001 for k in own]
        certified, lengths = np.full(201, radius), np.full(201, length)
        few, could = too_few(certified, lengths, own, setting)
        assert few.tolist() == wanted
        assert could.all() == any(wanted)
        assert few.any()


def test_without_a_certificate_nothing_is_contradicted():
    few, could = too_few(np.zeros(3), np.zeros(3), np.zeros(3, int), Setting(0.25, 200, 0.001))
    assert not few.any()
    assert not could.any()


def test_honest_votes_at_any_distance_are_hardly_ever_too_few():
    """A linear network, for which the theorem's bound is the share itself."""
    random, setting = np.random.default_rng(0), Setting(0.25, 1000, 0.001)
    margin, length = random.uniform(0, 0.8, 20_000), random.uniform(0, 1.2, 20_000)
    before = random.binomial(1000, norm.cdf(margin / 0.25))
    found = certify(
        np.column_stack((before, 1000 - before)),
        np.column_stack((before, 1000 - before)), 1000, noise=0.25, alpha=0.001,
    )  # fmt: skip
    after = random.binomial(1000, norm.cdf((margin - length) / 0.25))
    few, could = too_few(certified_radii(found, np.zeros(20_000)), length, after, setting)
    assert could.sum() > 10_000
    assert few.mean() < 0.002
    assert contradiction(few, could, 0.001) == ""


def test_more_contradicted_certificates_than_chance_allows_are_a_contradiction():
    could = np.ones(200, bool)
    assert contradiction(could & False, could & False, 0.001) == ""
    assert contradiction(np.arange(200) < 2, could, 0.001) == ""
    assert "than their certificates promise" in contradiction(np.arange(200) < 6, could, 0.001)


def test_answers_that_are_no_numbers_win_where_they_are_most():
    counts = np.array([[11, 0], [900, 0]])  # 989 and 100 of 1,000 were not finite
    assert np.isfinite(predict(counts, 1000, 0.001)).all(axis=1).tolist() == [False, True]


def test_the_softmax_of_a_prediction_is_the_share_of_votes():
    found = np.exp(predict(np.array([[80, 15, 5]]), 100, 0.001))
    assert found / found.sum() == pytest.approx(np.array([[0.8, 0.15, 0.05]]))
