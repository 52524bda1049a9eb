"""Intervals and tests against scipy, published examples, and their own coverage."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from harness.judge.statistics import (
    auc_interval,
    bootstrap,
    holm,
    mcnemar_exact,
    paired_difference,
    paired_permutation,
    percentile_interval,
    wilson,
)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(
    ("k", "n"), [(0, 1), (1, 1), (0, 7), (3, 7), (7, 7), (490, 500), (1, 10000)]
)
def test_wilson_equals_scipys(k: int, n: int, level: float) -> None:
    reference = stats.binomtest(k, n).proportion_ci(level, method="wilson")
    assert wilson(k, n, level) == pytest.approx((reference.low, reference.high), abs=1e-12)


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_of_nothing_is_refused(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="a rate needs"):
        wilson(k, n)


def test_paired_difference_covers_the_true_difference() -> None:
    rng = np.random.default_rng(0)
    chances = [0.6, 0.2, 0.05, 0.15]  # both, first, second, neither
    tables = rng.multinomial(60, chances, size=2000)
    hits = [lo <= 0.15 <= hi for lo, hi in (paired_difference(*map(int, t)) for t in tables)]
    assert 0.93 <= np.mean(hits) <= 0.98


def test_paired_difference_is_antisymmetric_and_contains_the_estimate() -> None:
    for both, first, second, neither in product(range(0, 20, 4), repeat=4):
        if not (n := both + first + second + neither):
            continue
        lo, hi = paired_difference(both, first, second, neither)
        mirrored = paired_difference(both, second, first, neither)
        assert (lo, hi) == pytest.approx((-mirrored.hi, -mirrored.lo), abs=1e-12)
        assert lo - 1e-12 <= (first - second) / n <= hi + 1e-12
        assert -1 <= lo <= hi <= 1


def test_paired_difference_of_equal_outcomes_still_has_a_width() -> None:
    lo, hi = paired_difference(0, 0, 0, 50)
    assert lo < 0 < hi


def test_auc_interval_covers_the_true_area() -> None:
    rng = np.random.default_rng(1)
    true = float(stats.norm.cdf(1 / np.sqrt(2)))
    hits = []
    for _ in range(1000):
        positive, negative = rng.normal(1, 1, 30), rng.normal(0, 1, 40)
        auc = float(np.mean(positive[:, None] > negative))
        lo, hi = auc_interval(auc, 30, 40)
        assert lo <= auc <= hi
        hits.append(lo <= true <= hi)
    assert 0.93 <= np.mean(hits) <= 0.98


def test_auc_interval_at_the_ends() -> None:
    assert auc_interval(1.0, 5, 5).hi == 1.0
    assert auc_interval(0.0, 5, 5).lo == 0.0
    assert auc_interval(1.0, 5, 5).lo == pytest.approx(1 - auc_interval(0.0, 5, 5).hi)
    assert auc_interval(1.0, 500, 500).lo > auc_interval(1.0, 5, 5).lo


def test_mcnemar_equals_scipys_binomial_test() -> None:
    rng = np.random.default_rng(2)
    for n in (1, 5, 40, 500):
        for _ in range(20):
            a, b = rng.random((2, n)) < rng.random((2, 1))
            only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
            expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
            assert mcnemar_exact(a, b) == pytest.approx(expected)


def test_mcnemar_needs_pairs() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        mcnemar_exact(np.zeros(3, bool), np.zeros(4, bool))


def test_holm_is_monotone_and_exact_by_hand() -> None:
    assert holm([]) == []
    assert holm([0.5]) == [0.5]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.001, 0.01, 0.02, 0.5]) == pytest.approx([0.004, 0.03, 0.04, 0.5])
    assert holm([0.5, 0.02, 0.01, 0.001]) == pytest.approx([0.5, 0.04, 0.03, 0.004])


def test_bootstrap_draws_sums_of_whole_rows() -> None:
    counts = np.eye(6) * 10.0 ** np.arange(6)
    pooled = bootstrap(counts, draws=200, seed=3)
    times = pooled / 10.0 ** np.arange(6)
    assert (times == times.round()).all()
    assert (times.sum(axis=1) == 6).all()
    assert times.mean() == pytest.approx(1)
    assert (pooled == bootstrap(counts, draws=200, seed=3)).all()
    assert (pooled != bootstrap(counts, draws=200, seed=4)).any()
    assert bootstrap(np.zeros((0, 2)), draws=3).tolist() == [[0, 0]] * 3


def test_bootstrap_is_the_same_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.arange(10.0).reshape(5, 2)
    whole = bootstrap(counts, draws=7, seed=1)
    monkeypatch.setattr("harness.judge.statistics._CHUNK", 11)
    assert (bootstrap(counts, draws=7, seed=1) == whole).all()


def test_bootstrap_interval_of_a_mean_is_near_students() -> None:
    sample = np.round(np.random.default_rng(5).normal(1000, 100, (200, 1)))
    interval = percentile_interval(bootstrap(sample, draws=4000)[:, 0] / 200)
    assert interval is not None
    reference = stats.t.interval(0.95, 199, sample.mean(), stats.sem(sample[:, 0]))
    assert interval == pytest.approx(reference, abs=2)


def test_percentile_interval_leaves_undefined_draws_out() -> None:
    assert percentile_interval(np.array([np.nan, np.nan])) is None
    assert percentile_interval(np.array([np.nan, 2.0])) == (2.0, 2.0)


def _mean(pooled: np.ndarray) -> np.ndarray:
    return pooled[:, 0] / pooled[:, 1]


def test_permutation_p_is_exact_on_a_small_case() -> None:
    a = np.column_stack([[3.0, 5.0, 4.0, 6.0], np.ones(4)])
    b = np.column_stack([[1.0, 2.0, 3.0, 1.0], np.ones(4)])
    change = a[:, 0] - b[:, 0]
    signs = np.array(list(product([-1, 1], repeat=4)))
    exact = np.mean(np.abs(signs @ change) >= abs(change.sum()) - 1e-12)
    assert paired_permutation(a, b, _mean, draws=20_000) == pytest.approx(exact, abs=0.01)


def test_permutation_p_is_uniform_without_a_difference_and_small_with_one() -> None:
    rng = np.random.default_rng(6)
    values = []
    for _ in range(200):
        a, b = (
            np.column_stack([rng.integers(0, 50, 20), np.full(20, 50)]).astype(float) for _ in "ab"
        )
        values.append(paired_permutation(a, b, _mean, draws=199))
    assert 0.01 <= np.mean(np.array(values) <= 0.05) <= 0.1
    a = np.column_stack([rng.integers(30, 50, 20), np.full(20, 50)]).astype(float)
    b = np.column_stack([rng.integers(0, 20, 20), np.full(20, 50)]).astype(float)
    assert paired_permutation(a, b, _mean) == pytest.approx(1 / 1001)
    assert paired_permutation(a, a, _mean) == 1.0
