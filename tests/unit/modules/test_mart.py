"""MART: its loss against the formula, with and without perturbed weights."""

import pytest
import torch

from tests.support.modules import part
from tests.support.robust_training import (
    batch,
    equal,
    loss_of,
    network,
    perturbed,
    push,
    same,
    trained,
    trained_by,
)

FILE = part("defense", "mart", "defense")


def formula(net, x, y, weight):
    """−log q_y − log(1 − max q_k over k ≠ y) + λ KL(p ‖ q) (1 − p_y), example by example."""
    found = []
    for p, q, label in zip(
        net(x).softmax(dim=1), net(push(net, x, y)).softmax(dim=1), y.tolist(), strict=True
    ):
        others = [q[k] for k in range(len(q)) if k != label]
        best = torch.stack(others).max()
        apart = sum(p[k] * (p[k].log() - q[k].log()) for k in range(len(p)))
        found.append(-q[label].log() - (1 - best).log() + weight * apart * (1 - p[label]))
    return torch.stack(found)


@pytest.mark.parametrize("weight", [0.0, 5.0])
def test_the_loss_is_the_formula(tmp_path, weight):
    (x, y), net = batch(), network()
    found = loss_of("mart", tmp_path, weight=weight)(net, x, y)
    wanted = formula(net, x, y, weight)
    assert equal(net, found, net, wanted)
    right = net(push(net, x, y)).argmax(1) == y
    assert right.any()
    assert not right.all()


def test_weights_are_perturbed_along_the_whole_loss(tmp_path):
    (x, y), net = batch(), network()
    moved = perturbed(net, lambda proxy: formula(proxy, x, y, 5.0), 0.01)
    found = loss_of("mart", tmp_path, gamma=0.01)(net, x, y)
    wanted = formula(moved, x, y, 5.0)
    assert equal(net, found, moved, wanted)


def test_a_confident_error_has_a_finite_loss_and_gradient():
    """The authors' program adds 0.0001 to 1 − p_k, which bounds the loss at 9.2 instead."""
    for clean in (200.0, -200.0):
        logits = torch.tensor([[0.0, clean, 0.0]], requires_grad=True)
        attacked = torch.tensor([[0.0, 200.0, 0.0]], requires_grad=True)
        value = FILE.mart_loss(logits, attacked, torch.tensor([0]), 5.0)
        value.sum().backward()
        assert torch.isfinite(torch.cat([value, logits.grad[0], attacked.grad[0]])).all()
    # −log p_y is 200, and −log(1 − p_1) = 200 − log 2
    found = FILE.boosted_cross_entropy(attacked, torch.tensor([0]))
    assert found.item() == pytest.approx(400 - torch.tensor(2.0).log().item())


def test_without_gamma_it_is_the_training_without_perturbed_weights(tmp_path):
    def plain(net, x, y):
        x_adv = push(net, x, y)
        return FILE.mart_loss(net(x), net(x_adv), y, 5.0)

    wanted = trained_by(plain, tmp_path / "plain")
    assert same(trained("mart", tmp_path / "without"), wanted)
    assert not same(trained("mart", tmp_path / "with", gamma=0.005), wanted)
