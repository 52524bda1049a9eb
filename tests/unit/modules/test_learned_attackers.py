"""Attacks that learn before the test: autoencoders and universal perturbations."""

import re

import pytest
import torch

from harness.runtime.contracts import Budget
from harness.runtime.miou import confusion, mean_iou
from tests.support.modules import context, live, module
from tests.support.small_segmenter import EIGHT, SEGMENTATION, right


def learned(name, variant, segmenter, folder, budget=EIGHT, **params):
    network, data = segmenter
    ctx = context(folder, SEGMENTATION)
    attack = module("attack", name, variant, **params)
    attack.learn(live(network, SEGMENTATION), data, data, budget, ctx)
    return attack.perturb(None, data.x, None, None, budget, ctx)


@pytest.mark.parametrize(("size", "parameters"), [("s", 440), ("m", 19_590), ("l", 25_861)])
def test_the_autoencoder_s_sizes(size, parameters):
    attack = module("attack", "malicious-autoencoder", size)
    network = attack.build(torch.rand(1, 3, 45, 50), EIGHT)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert network(torch.rand(2, 3, 45, 50)).shape == (2, 3, 45, 50)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["s", "m", "l"])
def test_a_bounded_autoencoder_hurts_within_its_budget(segmenter, tmp_path, variant):
    network, data = segmenter
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = learned("malicious-autoencoder", variant, segmenter, tmp_path, steps=60)
    assert (found - data.x).abs().max() <= 8 / 255 + 1e-6
    assert right(network, found, data.y).sum() < right(network, data.x, data.y).sum()
    # buffers too: a segmenter in train mode would have drifted
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not network.training


def test_the_autoencoder_logs_what_its_mean_change_does_alone(segmenter, tmp_path, capsys):
    network, data = segmenter
    found = learned("malicious-autoencoder", "s", segmenter, tmp_path, steps=60)
    told = re.search(r"mIoU ([.\d]+); with the mean change alone ([.\d]+)", capsys.readouterr().out)
    alone = (data.x + (found - data.x).mean(0)).clamp(0, 1)
    for text, x in zip(told.groups(), (found, alone), strict=True):
        counts = confusion(network(x).argmax(1), data.y, data.spec.outputs, 255)
        assert float(text) == pytest.approx(mean_iou(counts.view(data.spec.outputs, -1)), abs=1e-3)


def test_the_original_form_is_stronger_and_has_no_limit(segmenter, tmp_path):
    network, data = segmenter
    free = Budget(unbounded=True)
    found = learned(
        "malicious-autoencoder", "original", segmenter, tmp_path, free, steps=60, batch=8
    )
    assert (found - data.x).abs().max() > 0.3
    assert right(network, found, data.y).sum() < right(network, data.x, data.y).sum() / 2


@pytest.mark.slow
def test_a_hinge_holds_its_pictures_to_a_psnr(segmenter, tmp_path):
    network, data = segmenter
    free = Budget(unbounded=True)
    found = learned("malicious-autoencoder", "psnr-20", segmenter, tmp_path, free, steps=150)
    assert (found - data.x).square().mean() <= 0.01
    assert right(network, found, data.y).sum() < right(network, data.x, data.y).sum()


def test_a_universal_perturbation_is_one_for_all(segmenter, tmp_path):
    network, data = segmenter
    found = learned("universal", None, segmenter, tmp_path, steps=80)
    change = found - data.x
    assert change.abs().max() <= 8 / 255 + 1e-6
    inner = ((data.x > 0.05) & (data.x < 0.95))[:2].all(0)  # where no border cuts it off
    assert inner.sum() > 100
    assert (change[0] - change[1])[inner].abs().max() < 1e-6
    assert right(network, found, data.y).sum() < right(network, data.x, data.y).sum()
