"""Draws that an attack was given against those that are judged, honest networks and others."""

import numpy as np
import pytest

from harness.judge.draw_comparison import FEWEST_WAYS, compare_draws, divisions
from harness.judge.flags import differs, record_flags
from harness.judge.values import Judged

S, D, N, K = 8, 5, 200, 10
CLEAR = np.random.default_rng(7).normal(size=(N, K)) * 3


def noise(draws, scale, seed):
    return CLEAR + scale * np.random.default_rng(seed).normal(size=(draws, N, K))


def in_batches(draws, seed, low=0.5, high=1.5):
    """One number drawn for a whole batch, as by a random resize."""
    rng = np.random.default_rng(seed)
    return CLEAR * rng.uniform(low, high, (draws, 2, 1, 1)).repeat(N // 2, axis=1).reshape(
        draws, N, 1
    ) + rng.normal(size=(draws, 1, 1))


def flagged(shown, judged, task="classification"):
    found = compare_draws(shown, judged, task)
    flags = record_flags(Judged(metrics={}), task=task, outputs=K, attack="pgd", different=found)
    assert bool(flags) == any(map(differs, found))
    return flags


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("scale", [0.0, 1e-9, 0.05, 0.5, 3, 100])
def test_honest_noise_is_not_flagged(scale, seed):
    assert flagged(noise(S, scale, seed), noise(D, scale, seed + 100)) == []


@pytest.mark.parametrize("seed", range(10))
def test_what_is_drawn_for_a_whole_batch_is_not_flagged(seed):
    assert flagged(in_batches(S, seed), in_batches(D, seed + 100)) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("under_attack", "judged"),
    [(3.0, 0.3), (1.0, 0.1), (2.0, 0.0), (0.0, 2.0), (100.0, 10.0)],
)
def test_another_spread_is_flagged(under_attack, judged, seed):
    (flag,) = flagged(noise(S, under_attack, seed), noise(D, judged, seed + 100))
    assert flag.name == "different_under_attack"
    assert "which draws do not explain (p = 0.00078)" in flag.text


def test_another_mean_is_flagged():
    shifted = noise(S, 0.3, 0)
    shifted[:, :, 0] += 3
    assert flagged(shifted, noise(D, 0.3, 1))
    few = noise(S, 0.3, 0)
    few[:, : N // 20] = -few[:, : N // 20]  # one in twenty answers
    assert flagged(few, noise(D, 0.3, 1))


def test_another_class_by_a_hair_is_flagged():
    close = np.zeros((N, 2))
    sign = np.where(np.arange(N) % 10 == 0, 1, -1)[:, None]
    tiny = np.array([[1e-4, 0]])
    wide = np.random.default_rng(0).normal(size=(13, N, 1)) * np.ones(2)  # moves all logits alike
    shown, judged = wide[:S] + close + tiny, wide[S:] + close + sign * tiny
    assert [one.name for one in compare_draws(shown, judged, "classification") if differs(one)] == [
        "predictions"
    ]


@pytest.mark.parametrize("seed", range(5))
def test_values_that_are_not_finite_compare_as_such(seed):
    shown, judged = noise(S, 0.3, seed), noise(D, 0.3, seed + 9)
    for draws in (shown, judged):
        draws[np.random.default_rng(seed).random(draws.shape[:2]) < 0.3] = np.nan
    assert flagged(shown, judged) == []
    shown[:] = np.nan
    assert flagged(shown, judged)


@pytest.mark.parametrize("seed", range(5))
def test_class_maps_and_rankers_are_compared_too(seed):
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 3, (4, 16, 16))

    def drawn(draws, share):
        return np.where(rng.random((draws, *maps.shape)) < share, (maps + 1) % 3, maps)

    assert flagged(drawn(S, 0.1), drawn(D, 0.1), "segmentation") == []
    assert flagged(drawn(S, 0.4), drawn(D, 0.1), "segmentation")
    scores = rng.normal(size=(50, 1))
    settings = ((0.1, S), (0.1, D), (1, S))
    one, two, wide = (scores + s * rng.normal(size=(d, 50, 1)) for s, d in settings)
    assert flagged(one, two, "ranking") == []
    assert flagged(wide, two, "ranking")


def test_too_few_draws_or_examples_are_not_compared():
    assert compare_draws(noise(4, 1, 0), noise(5, 1, 1), "classification") is None
    assert compare_draws(noise(1, 1, 0), noise(5, 1, 1), "classification") is None
    assert compare_draws(np.zeros((S, 0, K)), np.zeros((D, 0, K)), "classification") is None
    with pytest.raises(ValueError, match="different shapes"):
        compare_draws(noise(S, 1, 0)[:, :3], noise(D, 1, 1), "classification")


def test_all_divisions_are_tried_while_they_are_few():
    every = divisions(13, 8)
    assert every.shape == (1287, 13)
    assert len(every) >= FEWEST_WAYS
    assert (every.sum(axis=1) == 8).all()
    drawn = divisions(40, 20)
    assert (drawn[0] == (np.arange(40) < 20)).all()
    assert (drawn.sum(axis=1) == 20).all()
