"""TRADES: its loss against the formula, with and without perturbed weights."""

import pytest
import torch
import torch.nn.functional as F

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


def formula(net, x, y, beta):
    """Equation 5 with the divergence of the authors' program, for each example."""
    p, q = net(x).softmax(dim=1), net(push(net, x, y)).softmax(dim=1)
    own = torch.stack([p[i, y[i]] for i in range(len(y))])
    return -own.log() + beta * sum(p[:, k] * (p[:, k] / q[:, k]).log() for k in range(p.shape[1]))


@pytest.mark.parametrize("beta", [0.0, 1.0, 6.0])
def test_the_loss_is_the_formula(tmp_path, beta):
    (x, y), net = batch(), network()
    found = loss_of("trades", tmp_path, beta=beta)(net, x, y)
    wanted = formula(net, x, y, beta)
    assert equal(net, found, net, wanted)
    pieces = F.kl_div(net(push(net, x, y)).log_softmax(1), net(x).softmax(1), reduction="none")
    program = F.cross_entropy(net(x), y) + beta * pieces.sum() / len(x)
    assert found.mean().item() == pytest.approx(program.item(), abs=1e-6)


def test_weights_are_perturbed_along_the_whole_loss(tmp_path):
    (x, y), net = batch(), network()
    moved = perturbed(net, lambda proxy: formula(proxy, x, y, 6.0), 0.01)
    found = loss_of("trades", tmp_path, gamma=0.01)(net, x, y)
    wanted = formula(moved, x, y, 6.0)
    assert equal(net, found, moved, wanted)
    assert found.mean().item() > formula(net, x, y, 6.0).mean().item() + 1e-3


def test_without_gamma_it_is_the_training_without_perturbed_weights(tmp_path):
    file = part("defense", "trades", "defense")

    def plain(net, x, y):
        x_adv = push(net, x, y)
        return file.trades_loss(net(x), net(x_adv), y, 6.0)

    wanted = trained_by(plain, tmp_path / "plain")
    assert same(trained("trades", tmp_path / "without"), wanted)
    assert not same(trained("trades", tmp_path / "with", gamma=0.005), wanted)
