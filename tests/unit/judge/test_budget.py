"""Distances against plain numpy, and budgets at their edges."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from harness.judge import budget as module
from harness.judge.budget import as_seen, check_perturbation, join, measure, summary

LINF = {"norm": "linf", "eps": 8 / 255, "patch": None, "unbounded": None, "queries": 100}


def _pair(n: int = 4, shape: tuple[int, ...] = (3, 6, 5)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    noise = rng.uniform(-0.05, 0.05, clean.shape)
    return clean, np.clip(as_seen(clean) + noise, 0, 1).astype(np.float32)


def test_clean_inputs_are_what_torch_shows_the_network() -> None:
    stored = np.arange(256, dtype=np.uint8)
    seen = torch.from_numpy(stored.copy()).float().div_(255).numpy()
    assert (as_seen(stored) == seen).all()
    assert as_seen(stored).dtype == np.float32


def test_distances_equal_plain_numpy() -> None:
    clean, attacked = _pair()
    change = attacked.astype(np.float64) - as_seen(clean).astype(np.float64)
    flat = change.reshape(4, -1)
    d = measure(clean, attacked)
    assert d.linf == pytest.approx(np.abs(flat).max(axis=1), abs=0)
    assert d.channels == pytest.approx(np.abs(change).max(axis=(2, 3)), abs=0)
    assert d.l2 == pytest.approx(np.linalg.norm(flat, axis=1))
    assert d.mse == pytest.approx(np.mean(flat**2, axis=1))
    assert (d.low == attacked.reshape(4, -1).min(axis=1)).all()
    assert (d.high == attacked.reshape(4, -1).max(axis=1)).all()
    assert d.linf.dtype == d.changed.dtype == np.float64
    assert d.finite.all()


@pytest.mark.parametrize("chunk", [1, 200, 10**6])
def test_chunks_and_joined_batches_change_nothing(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, attacked = _pair(5, (2, 12, 11))
    whole = measure(clean, attacked)
    monkeypatch.setattr(module, "_CHUNK", chunk)
    parts = join([measure(clean[:2], attacked[:2]), measure(clean[2:], attacked[2:])])
    for field in fields(whole):
        a, b = getattr(parts, field.name), getattr(whole, field.name)
        assert np.array_equal(a, b, equal_nan=field.name == "ssim")


@pytest.mark.parametrize(
    ("rows", "columns", "height", "width", "changed"),
    [
        ([], [], 0, 0, 0),
        ([2], [3], 1, 1, 1),
        ([0, 5], [0, 4], 6, 5, 2),
        ([1, 2], [4, 4], 2, 1, 2),
        ([5], [0], 1, 1, 1),
    ],
)
def test_changed_pixels_and_their_box(
    rows: list[int], columns: list[int], height: int, width: int, changed: int
) -> None:
    clean = np.full((1, 3, 6, 5), 100, np.uint8)
    attacked = as_seen(clean)
    attacked[0, 1, rows, columns] += np.float32(0.1)
    d = measure(clean, attacked)
    assert (d.box_height[0], d.box_width[0], d.changed[0]) == (height, width, changed)


def test_another_devices_rounding_is_no_changed_pixel() -> None:
    clean = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    through_reciprocal = clean.astype(np.float32) * np.float32(1 / 255)
    assert (through_reciprocal != as_seen(clean)).any()
    assert measure(clean, through_reciprocal).changed.tolist() == [0]
    assert check_perturbation(measure(clean, through_reciprocal), {"patch": 1}) is None


def test_features_are_measured_too() -> None:
    clean = np.zeros((2, 7), np.float32)
    attacked = clean.copy()
    attacked[1, [2, 4]] = 0.5
    d = measure(clean, attacked)
    assert d.changed.tolist() == [0, 2]
    assert d.box_width.tolist() == [0, 3]


def test_shapes_that_do_not_fit_are_our_fault() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, 4, 4\) and \(1, 3, 4, 5\)"):
        measure(np.zeros((1, 3, 4, 4), np.uint8), np.zeros((1, 3, 4, 5), np.float32))


def test_nothing_attacked_is_within_any_budget() -> None:
    d = measure(np.zeros((0, 3, 4, 4), np.uint8), np.zeros((0, 3, 4, 4), np.float32))
    assert len(d) == 0
    assert check_perturbation(d, LINF) is None
    assert summary(d) == {}


@pytest.mark.parametrize(("excess", "fine"), [(0, True), (5e-7, True), (3e-6, False)])
def test_linf_at_its_edge(excess: float, fine: bool) -> None:
    clean = np.full((3, 1, 4, 4), 51, np.uint8)
    attacked = as_seen(clean)
    attacked[1, 0, 2, 2] += np.float32(8 / 255 + excess)
    verdict = check_perturbation(measure(clean, attacked), LINF)
    assert (verdict is None) is fine
    if not fine:
        assert verdict == (
            "L∞ distance is 0.031375542, the limit is 0.031372549 (tolerance 1e-06): "
            "1 of 3 examples"
        )


UNITS = {"norm": "linf", "eps": 0.2, "per_channel": [0.1, 0.25, 0.5]}
"""Radii of 0.02, 0.05 and 0.1."""


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize(("excess", "fine"), [(0, True), (5e-7, True), (3e-6, False)])
def test_each_channel_at_its_own_edge(channel: int, excess: float, fine: bool) -> None:
    clean = np.full((3, 3, 4, 4), 51, np.uint8)
    attacked = as_seen(clean)
    radius = (0.02, 0.05, 0.1)[channel]
    attacked[1, channel, 2, 2] -= np.float32(radius + excess)
    verdict = check_perturbation(measure(clean, attacked), UNITS)
    assert (verdict is None) is fine
    if not fine:
        assert verdict is not None
        assert verdict.startswith(f"L∞ distance of channel {channel} is {radius:.3g}")
        assert f"the limit is {radius:.8g} (tolerance 1e-06): 1 of 3 examples" in verdict


@pytest.mark.parametrize("channels", [0, 1, 2, 4])
def test_limits_of_other_channels_are_our_fault(channels: int) -> None:
    clean = np.zeros((2, 3, 4, 4), np.uint8)
    distances = replace(measure(clean, as_seen(clean)), channels=np.zeros((2, channels)))
    with pytest.raises(ValueError, match="limits of 3 channels"):
        check_perturbation(distances, UNITS)
    with pytest.raises(ValueError, match="cannot check norm 'l2'"):
        check_perturbation(distances, UNITS | {"norm": "l2"})


@pytest.mark.parametrize(("factor", "fine"), [(1, True), (1 + 5e-6, True), (1 + 3e-5, False)])
def test_l2_at_its_edge(factor: float, fine: bool) -> None:
    clean = np.full((2, 1, 1, 4), 51, np.uint8)
    attacked = as_seen(clean).astype(np.float64)
    attacked[0] += 0.5 * factor / 2  # four equal numbers: L2 is twice each
    verdict = check_perturbation(measure(clean, attacked), {"norm": "l2", "eps": 0.5})
    assert (verdict is None) is fine
    if not fine:
        assert verdict is not None
        assert verdict.startswith("L2 distance is 0.500015")


def test_honest_float32_projections_keep_the_l2_budget() -> None:
    generator = torch.Generator().manual_seed(0)
    stored = torch.randint(0, 256, (4, 3, 224, 224), dtype=torch.uint8, generator=generator)
    x = stored.float().div(255)
    delta = torch.randn(x.shape, generator=generator)
    delta *= (3.0 / delta.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    d = measure(stored.numpy(), (x + delta).numpy())
    assert (d.l2 > 3.0).any()
    box = {"norm": "l2", "eps": 3.0}
    kept = measure(stored.numpy(), (x + delta).numpy()).l2 <= 3.0 * (1 + module.L2_TOLERANCE)
    assert kept.all(), box


@pytest.mark.parametrize("side", [(3, 3), (3, 2), (1, 1)])
def test_patch_that_fits(side: tuple[int, int]) -> None:
    clean = np.zeros((1, 3, 8, 8), np.uint8)
    attacked = as_seen(clean)
    attacked[0, :, 5 : 5 + side[0], 4 : 4 + side[1]] = 1
    assert check_perturbation(measure(clean, attacked), {"patch": 3}) is None


@pytest.mark.parametrize(("height", "width", "word"), [(4, 1, "height"), (2, 4, "width")])
def test_patch_that_is_too_large(height: int, width: int, word: str) -> None:
    clean = np.zeros((2, 3, 8, 8), np.uint8)
    attacked = as_seen(clean)
    attacked[0, 0, :height, :width] = 1
    verdict = check_perturbation(measure(clean, attacked), {"patch": 3})
    assert verdict == f"{word} of the changed box is 4, the limit is 3: 1 of 2 examples"


@pytest.mark.parametrize(
    ("budget", "verdict"),
    [
        ({"pixels": 4}, None),
        ({"pixels": 4, "patch": 8}, None),
        ({"pixels": 3}, "number of changed pixels is 4, the limit is 3: 1 of 2 examples"),
        (
            {"pixels": 4, "patch": 7},
            "height of the changed box is 8, the limit is 7: 1 of 2 examples",
        ),
    ],
)
def test_four_corners_are_four_pixels_whatever_their_box(budget, verdict) -> None:
    clean = np.zeros((2, 3, 8, 8), np.uint8)
    attacked = as_seen(clean)
    attacked[0][:, [0, 0, 7, 7], [0, 7, 0, 7]] = 1  # all channels: each pixel counts once
    attacked[1, 0, 3, :3] = 1
    assert check_perturbation(measure(clean, attacked), budget) == verdict


@pytest.mark.parametrize("budget", [{"unbounded": True}, LINF, {"patch": 9}])
@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (np.nan, "values are not finite: 1 of 2 examples"),
        (np.inf, "values are not finite: 1 of 2 examples"),
        (
            -0.01,
            "the smallest value's distance below 0 is 0.0099999998, "
            "the limit is 0 (tolerance 1e-06): 1 of 2 examples",
        ),
        (1.01, "the largest value is 1.01, the limit is 1 (tolerance 1e-06): 1 of 2 examples"),
    ],
)
def test_box_and_finiteness_hold_under_every_budget(
    budget: dict[str, object], value: float, verdict: str
) -> None:
    clean = np.zeros((2, 1, 9, 9), np.uint8)
    attacked = as_seen(clean)
    attacked[1, 0, 3, 3] = value
    assert check_perturbation(measure(clean, attacked), budget) == verdict


def test_unbounded_allows_any_picture() -> None:
    clean = np.zeros((1, 1, 4, 4), np.uint8)
    assert check_perturbation(measure(clean, 1 - as_seen(clean)), {"unbounded": True}) is None


@pytest.mark.parametrize("budget", [{}, {"edits": 5}, {"norm": "l1", "eps": 1.0}, {"norm": "linf"}])
def test_a_budget_that_limits_nothing_is_refused(budget: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"cannot check|limits no input"):
        check_perturbation(measure(*_pair()), budget)


def test_summary_by_hand() -> None:
    clean = np.zeros((3, 1, 2, 2), np.uint8)
    attacked = as_seen(clean)
    attacked[0] = 0.1
    attacked[1, 0, 0, 0] = 0.2
    figures = summary(measure(clean, attacked))
    assert figures == pytest.approx(
        {
            "linf_max": 0.2, "linf_mean": 0.1, "l2_max": 0.2, "l2_mean": 0.4 / 3,
            "rmse": 0.2 / 3, "psnr": 20.0, "changed": 5 / 3, "identical": 1, "examples": 3,
        }
    )  # fmt: skip
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_summary_holds_finite_numbers_only() -> None:
    clean = np.zeros((2, 1, 2, 2), np.uint8)
    attacked = as_seen(clean)
    attacked[0, 0, 0, 0] = np.nan
    figures = summary(measure(clean, attacked))
    assert "psnr" not in figures
    assert figures["examples"] == figures["identical"] == 1
    json.dumps(figures, allow_nan=False)


def test_similarity_can_be_left_out_and_changes_nothing_else() -> None:
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 256, (3, 3, 12, 13)).astype(np.uint8)
    attacked = rng.random(clean.shape, np.float32)
    whole, short = measure(clean, attacked), measure(clean, attacked, ssim=False)
    assert np.isfinite(whole.ssim).all()
    assert np.isnan(short.ssim).all()
    for field in fields(whole):
        if field.name != "ssim":
            assert np.array_equal(getattr(whole, field.name), getattr(short, field.name))
