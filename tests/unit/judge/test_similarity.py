"""SSIM against torchmetrics, a plain loop over windows, and cases with a known answer."""

from time import process_time

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from harness.judge.budget import as_seen, measure, summary
from harness.judge.similarity import similarity


def _pair(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first = rng.random(shape)
    return first, np.clip(first + rng.normal(0, 0.1, shape), 0, 1)


@pytest.mark.parametrize("shape", [(3, 3, 24, 31), (2, 1, 11, 11), (1, 4, 40, 12)])
def test_ssim_equals_torchmetrics_on_the_valid_region(shape: tuple[int, ...]) -> None:
    first, second = _pair(shape)
    # torchmetrics pads by reflection and keeps the border; five pixels in, no window meets it.
    result = structural_similarity_index_measure(
        torch.from_numpy(second), torch.from_numpy(first), data_range=1.0, return_full_image=True
    )
    inside = result[1][..., 5 : shape[2] - 5, 5 : shape[3] - 5].mean(dim=(1, 2, 3)).numpy()
    assert similarity(first, second) == pytest.approx(inside, abs=1e-12)


def test_ssim_equals_the_formula_window_by_window() -> None:
    first, second = (one[0, 0] for one in _pair((1, 1, 13, 12)))
    offset = np.arange(11) - 5
    window = np.exp(-(offset[:, None] ** 2 + offset[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    found = []
    for i in range(3):
        for j in range(2):
            a, b = first[i : i + 11, j : j + 11], second[i : i + 11, j : j + 11]
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
            cov = (window * (a - ma) * (b - mb)).sum()
            found.append(
                (2 * ma * mb + 1e-4) * (2 * cov + 9e-4)
                / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
            )  # fmt: skip
    assert similarity(first[None, None], second[None, None]) == pytest.approx([np.mean(found)])


def test_known_answers() -> None:
    first, _ = _pair((2, 3, 20, 20))
    assert similarity(first, first).tolist() == [1.0, 1.0]
    flat = np.full((1, 1, 12, 12), 0.2)
    # Without any variance only the means are left.
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert similarity(flat, flat + 0.4) == pytest.approx([expected])
    assert similarity(first, 1 - first).max() < 0


@pytest.mark.parametrize("shape", [(2, 3, 10, 40), (2, 3, 40, 10), (2, 1, 1, 300)])
def test_a_picture_smaller_than_the_window_has_none(shape: tuple[int, ...]) -> None:
    assert np.isnan(similarity(*_pair(shape))).all()


def test_distances_hold_it_and_the_summary_is_its_mean() -> None:
    clean = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    attacked = as_seen(clean)
    attacked[1:] = 1 - attacked[1:]
    d = measure(clean, attacked)
    assert d.ssim[0] == 1.0
    seen = [as_seen(clean).astype(np.float64), attacked.astype(np.float64)]
    assert (d.ssim == similarity(*seen)).all()
    assert summary(d)["ssim"] == pytest.approx(float(np.mean(d.ssim)))


def test_what_has_no_ssim_has_none_in_the_summary() -> None:
    features = np.zeros((4, 30), np.float32)
    assert np.isnan(measure(features, features).ssim).all()
    assert "ssim" not in summary(measure(features, features))
    clean = np.zeros((2, 1, 12, 12), np.uint8)
    broken = as_seen(clean)
    broken[0, 0, 0, 0] = np.nan
    assert summary(measure(clean, broken))["ssim"] == 1.0


def test_a_road_scene_takes_a_fraction_of_a_second() -> None:
    first, second = _pair((1, 3, 360, 480))
    times = []
    for _ in range(5):
        start = process_time()
        similarity(first, second)
        times.append(process_time() - start)
    assert min(times) < 0.15
