"""Edited comparisons against plain loops."""

import numpy as np
import pytest

from harness.judge.metrics import Absent, Comparisons, decisions, judge_flips


def pairs(rng, n, items, attributes=2):
    first = rng.integers(0, items, n)
    second = (first + rng.integers(1, items, n)) % items
    return np.column_stack([first, second, rng.choice([-1, 1], n), rng.integers(0, attributes, n)])


def triplets(rng, n, items):
    order = np.array([rng.permutation(items)[:3] for _ in range(n)])
    return np.column_stack([order, np.ones(n, int), np.zeros(n, int)])


def case(kind, rng):
    clean, attacked = rng.standard_normal((2, 12, 2))
    make = pairs if kind == "pairs" else triplets
    train, test = make(rng, 200, 12), make(rng, 90, 12)
    edited = train.copy()
    rows = rng.permutation(200)[:31]
    if kind == "pairs":
        edited[rows, 2] *= -1
    else:
        edited[rows, 1], edited[rows, 2] = train[rows, 2], train[rows, 1]
    return Comparisons(train, clean, attacked), edited, Comparisons(test, clean, attacked), rows


@pytest.mark.parametrize("kind", ["pairs", "triplets"])
def test_figures_are_those_of_a_loop_over_comparisons(kind):
    rng = np.random.default_rng(0)
    train, edited, test, rows = case(kind, rng)
    found = judge_flips(train, edited, test)
    assert found.flipped.nonzero()[0].tolist() == sorted(rows.tolist())
    clean = decisions(train.clean, train.y)
    wrong = [i for i in rows if (clean[i] > 0) != (train.y[i, -2] > 0)]
    fits = [
        (decisions(train.attacked, edited[[i]])[0] > 0) == (edited[i, -2] > 0) for i in range(200)
    ]
    assert found.metrics["flips_wrong"].value == len(wrong) / 31
    assert found.metrics["poison_fit"].value == np.mean(fits)
    assert found.metrics["flip_margin"].value == pytest.approx(np.abs(clean[rows]).mean())
    assert found.decisions.tolist() == clean[sorted(rows.tolist())].tolist()


@pytest.mark.parametrize("kind", ["pairs", "triplets"])
def test_histograms_count_each_comparison_once(kind):
    rng = np.random.default_rng(1)
    train, edited, test, _ = case(kind, rng)
    found = judge_flips(train, edited, test)
    before, after = decisions(test.clean, test.y), decisions(test.attacked, test.y)
    right, held = (before > 0) == (test.y[:, -2] > 0), (after > 0) == (test.y[:, -2] > 0)
    assert found.train.sum() == 200
    assert found.wrong.sum() == (~right).sum()
    assert found.attacked.sum() == (right & ~held).sum()
    assert found.edges[0] == -found.edges[-1] <= -np.abs(before).max()
    low = found.wrong[: len(found.wrong) // 2].sum()
    assert low == (before[~right] < 0).sum()


def test_a_comparison_swapped_and_negated_says_the_same_and_is_no_flip():
    rng = np.random.default_rng(4)
    train, _, test, _ = case("pairs", rng)
    edited = train.y.copy()
    edited[:9, :3] = edited[:9, [1, 0, 2]] * [1, 1, -1]
    edited[9:12, :2] = edited[9:12, [1, 0]]
    assert judge_flips(train, edited, test).flipped.nonzero()[0].tolist() == [9, 10, 11]


def test_without_an_edit_there_is_no_share_of_edits():
    rng = np.random.default_rng(2)
    train, _, test, _ = case("pairs", rng)
    found = judge_flips(train, train.y, test)
    assert isinstance(found.metrics["flips_wrong"], Absent)
    assert "flip_margin" not in found.metrics
    assert not len(found.decisions)


def test_a_decision_that_is_not_finite_is_wrong_and_in_no_bin():
    rng = np.random.default_rng(3)
    train, edited, test, _ = case("pairs", rng)
    broken = train.clean.copy()
    broken[0] = np.nan
    found = judge_flips(Comparisons(train.y, broken, train.attacked), edited, test)
    touched = (train.y[:, :2] == 0).any(1)
    assert found.train.sum() == (~touched).sum()
    assert "flip_margin" not in found.metrics


@pytest.mark.parametrize("most", [5e-324, 1e-310, 0.29999999999999993, 1.0, 3e38, 1.7976e308])
def test_the_outermost_edge_holds_the_largest_decision(most):
    scores = np.array([[0.0], [most]])
    y = np.array([[1, 0, 1, 0], [0, 1, 1, 0]])
    seen = Comparisons(y, scores, scores)
    found = judge_flips(seen, y, seen)
    assert np.isfinite(found.edges).all()
    assert found.edges[-1] >= most
    assert found.train[:20].sum() == found.train[20:].sum() == 1


@pytest.mark.parametrize("scale", [1e5, 1e30, 1e-30])
def test_edits_are_counted_exactly_beside_an_edge(scale):
    rng = np.random.default_rng(5)
    # decision values that lie on edges, and closer to them than 16 or 32 bits can tell
    scores = np.concatenate([np.arange(9) / 4, np.arange(1, 9) / 4 * (1 - 1e-12)])[:, None] * scale
    y = pairs(rng, 400, len(scores), attributes=1)
    edited = y.copy()
    edited[:150, 2] *= -1
    seen = Comparisons(y, scores, scores)
    found = judge_flips(seen, edited, seen)
    assert found.edits.sum() == 150
    assert (found.edits <= found.train).all()
    exact = decisions(scores, y[:150])
    for i, (low, high) in enumerate(zip(found.edges[:-1], found.edges[1:], strict=True)):
        inside = (exact >= low) & ((exact < high) | (i == 39))
        assert found.edits[i] == inside.sum()
