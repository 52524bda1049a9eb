"""Random networks: what several draws of one prediction come to."""

import numpy as np
import pytest

from harness.judge import draws, metrics
from harness.judge.values import Absent

D, N, K = 5, 200, 4
RNG = np.random.default_rng(0)
Y = RNG.integers(0, K, N)


def logits(right, seed=0):
    """D draws, each right on a share of the inputs."""
    rng = np.random.default_rng(seed)
    said = np.where(rng.random((D, N)) < right, Y, (Y + rng.integers(1, K, (D, N))) % K)
    return np.eye(K, dtype=np.float32)[said]


def value(judged, name):
    return judged.metrics[name].value


def test_the_worst_draw_ranks_and_the_mean_stands_beside():
    before, after = logits(0.95), logits(0.7, 1)
    judged = draws.classification(before, after, Y)
    first, last = before.argmax(axis=2) == Y, after.argmax(axis=2) == Y
    assert value(judged, "clean_accuracy") == pytest.approx(first.mean())
    assert value(judged, "accuracy_mean") == pytest.approx(last.mean())
    assert value(judged, "robust_accuracy_mean") == pytest.approx((first & last).mean())
    assert value(judged, "accuracy") == last.all(axis=0).mean()
    assert value(judged, "robust_accuracy") == (first.all(axis=0) & last.all(axis=0)).mean()
    bits = judged.outcomes
    assert (bits["before"] == first.all(axis=0)).all()
    assert (bits["after"] == last.all(axis=0)).all()
    assert (bits["success"] == bits["before"] & ~bits["after"]).all()


@pytest.mark.parametrize("seed", range(5))
def test_robust_is_never_above_clean_and_every_interval_holds_its_value(seed):
    judged = draws.classification(logits(0.9, seed), logits(0.5, seed + 9), Y)
    robust = value(judged, "robust_accuracy")
    assert robust <= value(judged, "robust_accuracy_mean") <= value(judged, "clean_accuracy")
    for name in ("clean_accuracy", "robust_accuracy_mean", "accuracy_mean", "robust_accuracy"):
        figure = judged.metrics[name]
        assert figure.lo <= figure.value <= figure.hi
        # as wide as that of N examples: draws of one example add none
        assert figure.hi - figure.lo > 0.5 * 1.96 / np.sqrt(N) * 2 * np.sqrt(
            figure.value * (1 - figure.value)
        )


def test_equal_draws_are_judged_as_one():
    before, after = logits(0.9), logits(0.6, 1)
    goal = (Y + 1) % K
    for wanted in (None, goal, Absent("no target")):
        one = metrics.classification(before[0], after[0], Y, goal=wanted)
        many = draws.classification(*(a[[0] * D] for a in (before, after)), Y, goal=wanted)
        for name, figure in one.metrics.items():
            assert getattr(many.metrics[name], "value", None) == getattr(figure, "value", None), (
                name
            )
        assert all((one.outcomes[bit] == many.outcomes[bit]).all() for bit in one.outcomes)
        assert value(many, "draws_differ") == 0


def test_an_attack_that_reaches_its_goal_in_one_draw_has_reached_it():
    y, goal = np.array([0, 0, 0]), np.array([2, 2, 0])
    before = np.eye(3)[np.zeros((3, 3), int)]
    after = np.eye(3)[np.array([[0, 0, 0], [1, 1, 1], [2, 0, 0]])]
    judged = draws.classification(before, after, y, goal=goal)
    assert judged.outcomes["success"].tolist() == [True, False, False]
    assert judged.outcomes["after"].tolist() == [False, False, False]


def test_draws_that_are_not_finite_are_wrong():
    before, after = logits(1.0), logits(1.0)
    after[2, :7] = np.nan
    judged = draws.classification(before, after, Y)
    assert value(judged, "robust_accuracy") == 1 - 7 / N
    assert judged.nonfinite == {"after": 7}


def test_draws_that_differ_wildly_are_told_and_break_nothing():
    wild = RNG.normal(size=(D, N, K)) * 10.0 ** RNG.integers(-30, 30, (D, N, 1))
    wild[0, 0], wild[1, 1, 2] = np.inf, -np.inf
    judged = draws.classification(wild, wild[::-1], Y)
    assert value(judged, "draws_differ") > 0.7
    assert value(judged, "robust_accuracy") <= value(judged, "clean_accuracy")
    assert "two draws differ on 7" in draws.describe(judged.metrics, D)


def test_an_empty_slice_has_no_figure():
    empty = np.zeros((D, 0, K))
    judged = draws.classification(empty, empty, np.zeros(0, int))
    assert isinstance(judged.metrics["clean_accuracy"], Absent)
    assert "differ on none" in draws.describe(judged.metrics, D)


def test_a_comparison_is_right_only_if_every_draw_is():
    y = np.array([[0, 1, 1, 0], [1, 0, 1, 0], [0, 2, -1, 0]])
    before = np.array([[[3.0], [1.0], [5.0]], [[3.0], [4.0], [9.0]]])
    judged = draws.ranking(before, before, y)
    assert judged.outcomes["before"].tolist() == [False, False, True]
    assert value(judged, "clean_accuracy") == pytest.approx(4 / 6)
    assert value(judged, "robust_accuracy") == pytest.approx(1 / 3)
    before[1, 2] = np.nan
    assert draws.ranking(before, before, y).outcomes["after"].tolist() == [False, False, False]


def test_equal_draws_of_a_ranker_are_judged_as_one():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(2, 8, 1))
    y = np.column_stack([rng.integers(0, 8, (30, 2)), rng.choice([-1, 1], 30), np.zeros(30, int)])
    one = metrics.ranking(scores[0], scores[1], y)
    many = draws.ranking(scores[:1].repeat(3, axis=0), scores[1:].repeat(3, axis=0), y)
    for name, figure in one.metrics.items():
        assert many.metrics[name].value == pytest.approx(figure.value), name
    assert one.parts == many.parts


def test_maps_are_judged_by_the_draw_with_most_wrong_pixels():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, (2, 4, 4)).astype(np.uint8)
    y[:, 0] = 255
    maps = np.stack([y, y, y])
    maps[1, 0, 1:3] = (y[0, 1:3] + 1) % 3
    maps[2, 1, 1] = 255
    maps[0, :, 0] = 1  # no label there: it counts for nobody
    found = draws.map_draws(maps, y, 3, 255)
    assert (found.worst == np.stack([maps[1, 0], maps[2, 1]])).all()
    assert (found.counts == metrics.confusion(found.worst, y, 3, 255)).all()
    each = [metrics.confusion(one, y, 3, 255) for one in maps]
    assert (found.pooled == np.sum(each, axis=0)).all()
    means = draws.map_means(found, found, maps)
    worst = metrics.segmentation(found.pooled, found.counts).metrics["miou"].value
    assert worst < means["miou_mean"].value < 1
    assert 0 < means["draws_differ"].value < 1
