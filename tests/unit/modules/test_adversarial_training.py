"""Adversarial training: attacked inputs, a share of clean ones, perturbed weights."""

import pytest
import torch
import torch.nn.functional as F

from tests.support.robust_training import (
    batch,
    loss_of,
    network,
    perturbed,
    push,
    same,
    trained,
    trained_by,
)


def formula(net, x, y, clean):
    attacked = F.cross_entropy(net(push(net, x, y)), y, reduction="none")
    if clean == 0:
        return attacked
    return (1 - clean) * attacked + clean * F.cross_entropy(net(x), y, reduction="none")


@pytest.mark.parametrize("clean", [0.0, 0.3])
@pytest.mark.parametrize("gamma", [0.0, 0.01])
def test_the_loss_is_the_formula(tmp_path, clean, gamma):
    (x, y), net = batch(), network()
    moved = perturbed(net, lambda proxy: formula(proxy, x, y, clean), gamma)
    found = loss_of("adversarial-training", tmp_path, clean=clean, gamma=gamma)(net, x, y)
    assert torch.allclose(found, formula(moved, x, y, clean), atol=1e-6, rtol=0)
    assert gamma == 0 or (found - formula(net, x, y, clean)).mean().item() > 1e-3


@pytest.mark.parametrize("clean", [0.0, 0.3])
def test_without_gamma_it_is_the_training_without_perturbed_weights(tmp_path, clean):
    def plain(net, x, y):
        return formula(net, x, y, clean)

    wanted = trained_by(plain, tmp_path / "plain")
    assert same(trained("adversarial-training", tmp_path / "without", clean=clean), wanted)
    moved = trained("adversarial-training", tmp_path / "with", clean=clean, gamma=0.01)
    assert not same(moved, wanted)
