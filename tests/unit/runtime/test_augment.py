"""Random crops and flips of training images, drawn anew at each step."""

import itertools
from dataclasses import replace

import pytest
import torch

from harness.runtime import checkpoint
from harness.runtime.augment import take
from harness.runtime.contracts import Data
from harness.runtime.recipe import Recipe
from harness.runtime.tasks import loss_for
from harness.runtime.training import fit
from tests.unit.runtime.test_training import CPU, SPEC, Killed, context, data, network


def larger(count=50):
    """Images that are stored as 6 by 7 pixels, each pixel with its own value."""
    raw = torch.arange(42, dtype=torch.uint8).reshape(1, 1, 6, 7).repeat(count, 1, 1, 1)
    spec = replace(SPEC, stored=(1, 6, 7))
    y, ids = torch.arange(count) % 3, torch.arange(count)
    return Data(raw[..., 1:5, 1:5], y, ids, spec, CPU, raw)


def test_crops_are_places_of_the_stored_image_and_half_are_mirrored():
    x, y = take(larger(), torch.arange(50), "stored", True, torch.Generator().manual_seed(0))
    assert (x.shape, y.tolist()) == ((50, 1, 4, 4), larger().y.tolist())
    first = (x * 255).round().long()[:, 0, 0]
    mirrored = first[:, 0] > first[:, 3]
    corner = torch.where(mirrored, first[:, 3], first[:, 0])
    assert {divmod(int(c), 7) for c in corner} == {(r, c) for r in range(3) for c in range(4)}
    assert 10 < mirrored.sum() < 40
    rows = torch.arange(4)[:, None] * 7 + torch.arange(4)
    expected = corner[:, None, None] + torch.where(mirrored[:, None, None], rows.flip(1), rows)
    assert torch.equal((x * 255).round().long()[:, 0], expected)


def test_crops_are_drawn_anew_at_each_step_and_not_in_validation(tmp_path):
    seen, validated = [], []

    def noted(network, x, y):
        (seen if network.training else validated).append(x.clone())
        return loss_for(SPEC)(network, x, y)

    recipe = Recipe(4, 50, 0.1, crop="stored", flip=True, log_every=4)
    fit(network(), larger(), noted, context(tmp_path), recipe, val=larger())
    assert len({tuple(x.sum(dim=(1, 2, 3)).tolist()) for x in seen}) == 4
    assert all(torch.equal(x, larger().x) for x in validated)


@pytest.mark.parametrize("stop", [3, 8])
def test_random_crops_are_resumed_to_the_bit(tmp_path, monkeypatch, stop):
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0)
    calls = itertools.count()

    def killed(net, x, y):
        if next(calls) == stop:
            raise Killed
        return loss_for(SPEC)(net, x, y)

    def run(folder, loss):
        net = network()
        recipe = Recipe(10, 16, 0.1, crop="stored", flip=True)
        fit(net, larger(), loss, context(folder), recipe)
        return net.state_dict()

    whole = run(tmp_path / "a", loss_for(SPEC))
    with pytest.raises(Killed):
        run(tmp_path / "b", killed)
    resumed = run(tmp_path / "b", loss_for(SPEC))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_images_that_are_stored_as_seen_are_not_cropped(tmp_path):
    states = []
    for folder, crop in ((tmp_path / "a", "stored"), (tmp_path / "b", "none")):
        net = network()
        fit(net, data(), loss_for(SPEC), context(folder), Recipe(5, 16, 0.1, crop=crop))
        states.append(net.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def drawn(images, crop, *, flip=False, seed=0):
    rows = torch.arange(len(images))
    return take(images, rows, crop, flip, torch.Generator().manual_seed(seed))[0]


def spotted(count=400):
    """Images of 16 by 16 pixels, each with its own value, between 1 and 256 of 256."""
    raw = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(count, 1, 1, 1)
    spec = replace(SPEC, shape=(1, 16, 16))
    return Data(raw, torch.arange(count) % 3, torch.arange(count), spec, CPU)


def test_padded_crops_move_images_by_up_to_an_eighth_of_the_side():
    found = (drawn(spotted(), "padded") * 255).round().long()[:, 0]
    image = spotted().raw[0, 0].long()
    bordered = torch.nn.functional.pad(image, (2, 2, 2, 2))
    windows = {
        tuple(bordered[top : top + 16, left : left + 16].flatten().tolist()): (top, left)
        for top in range(5) for left in range(5)
    }  # fmt: skip
    assert {windows[tuple(crop.flatten().tolist())] for crop in found} == set(windows.values())


def test_resized_crops_are_parts_of_the_image_of_many_sizes():
    """A ramp from left to right stays one; its range is the part's share of the width."""
    ramp = (torch.arange(64, dtype=torch.uint8) * 4).repeat(64, 1)
    raw = ramp.reshape(1, 1, 64, 64).repeat(200, 1, 1, 1)
    spec = replace(SPEC, shape=(1, 16, 16))
    data = Data(raw[..., 24:40, 24:40], torch.zeros(200).long(), torch.arange(200), spec, CPU, raw)
    found = drawn(data, "resized")
    assert found.shape == (200, 1, 16, 16)
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert (found.diff(dim=3) > -1e-6).all()
    share = found[:, 0, 0, -1] - found[:, 0, 0, 0]
    assert share.min() < 0.4
    assert share.max() > 0.85


@pytest.mark.parametrize("crop", ["none", "stored", "padded", "resized"])
def test_half_of_the_images_are_mirrored_after_any_crop(crop):
    plain, found = drawn(spotted(), crop), drawn(spotted(), crop, flip=True)
    same = (plain == found).flatten(1).all(dim=1)
    turned = (plain.flip(-1) == found).flatten(1).all(dim=1)
    assert (same | turned).all()
    assert 150 < turned.sum() < 250


def test_pixels_with_labels_are_not_moved():
    scenes = replace(spotted(4), spec=replace(SPEC, task="segmentation", shape=(1, 16, 16)))
    with pytest.raises(ValueError, match="need labels of whole images"):
        drawn(scenes, "padded")
    assert torch.equal(drawn(scenes, "stored"), scenes.x)
