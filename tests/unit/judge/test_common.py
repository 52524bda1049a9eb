"""What changes of different examples have in common, against plain pairs."""

import itertools

import numpy as np
import pytest

from harness.judge import common as module
from harness.judge.budget import as_seen
from harness.judge.common import common


def changed(change):
    """A grey set, stored as float32, and the same with a change that nothing rounds away."""
    clean = np.full(change.shape, 0.5, np.float32)
    return clean, (clean + change).astype(np.float32)


def pairs(change):
    """The definition: over all pairs of two different examples."""
    flat = change.reshape(len(change), -1).astype(np.float64)
    inner = [a @ b for a, b in itertools.permutations(flat, 2)]
    return np.mean(inner) / np.mean(np.square(flat).sum(1))


@pytest.mark.parametrize("shape", [(7, 3, 6, 5), (7, 10)])
@pytest.mark.parametrize("chunk", [1, 70, 10**6])
def test_share_and_mean_are_those_of_all_pairs(shape, chunk, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    rng = np.random.default_rng(0)
    change = 0.1 * rng.standard_normal(shape) + 0.05 * rng.standard_normal(shape[1:])
    clean, attacked = changed(change)
    found = common(clean, attacked)
    exact = attacked.astype(np.float64) - clean
    assert found.share == pytest.approx(pairs(exact))
    assert found.mean == pytest.approx(exact.mean(0), abs=1e-15)


def test_the_same_change_of_every_picture_is_wholly_common_and_noise_is_not():
    rng = np.random.default_rng(1)
    one = rng.choice([-0.1, 0.1], (1, 3, 16, 16))
    assert common(*changed(np.repeat(one, 40, 0))).share == pytest.approx(1)
    assert abs(common(*changed(rng.choice([-0.1, 0.1], (40, 3, 16, 16)))).share) < 0.01


def test_stored_pictures_count_as_networks_see_them():
    clean = np.random.default_rng(2).integers(0, 256, (4, 1, 5, 5), dtype=np.uint8)
    still = common(clean, as_seen(clean))
    assert np.isnan(still.share)
    assert not still.mean.any()
    assert not still.spectrum.any()


def test_one_example_has_nothing_to_share():
    assert np.isnan(common(*changed(np.full((1, 1, 2, 2), 0.1))).share)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_values_that_are_not_finite_make_no_share(broken):
    clean, attacked = changed(np.full((3, 1, 4, 4), 0.1))
    attacked[1, 0, 2, 2] = broken
    assert np.isnan(common(clean, attacked).share)


@pytest.mark.parametrize("size", [(8, 12), (7, 9)])
def test_a_spectrum_has_the_mean_in_the_middle_and_a_wave_at_its_frequency(size):
    height, width = size
    wave = 0.1 * np.cos(2 * np.pi * 3 * np.arange(width) / width)
    change = np.broadcast_to(0.05 + wave, (2, 3, height, width))
    spectrum = common(*changed(change)).spectrum
    n, middle = height * width, (height // 2, width // 2)
    assert spectrum[middle] == pytest.approx(0.05 * n, rel=1e-5)
    assert spectrum[middle[0], middle[1] + 3] == pytest.approx(0.05 * n, rel=1e-5)
    assert spectrum.sum() == pytest.approx(3 * 0.05 * n, rel=1e-4)


def test_features_have_no_spectrum():
    assert common(*changed(np.full((3, 5), 0.1))).spectrum.size == 0
