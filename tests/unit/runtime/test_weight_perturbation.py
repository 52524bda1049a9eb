"""Adversarial weight perturbation: its direction and length, its loss, and what it leaves alone."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.runtime.model import eval_mode
from harness.runtime.recipe import Recipe
from harness.runtime.training import fit
from harness.runtime.weight_perturbation import perturbation, perturbed_loss
from tests.unit.runtime.test_training import context, data

GAMMA = 0.02


def make():
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    return nn.Sequential(*layers).double().train()


@pytest.fixture
def batch():
    random = torch.Generator().manual_seed(1)
    x = torch.rand(12, 1, 8, 8, generator=random, dtype=torch.float64)
    return x, torch.randint(0, 3, (12,), generator=random)


def loss_on(x, y):
    return lambda net: F.cross_entropy(net(x), y, reduction="none")


def by_hand(network, x, y, gamma):
    """The authors' program: a proxy's step, its length from the weights', added in place."""
    proxy, moved = copy.deepcopy(network), copy.deepcopy(network)
    F.cross_entropy(proxy(x), y).backward()
    for (name, p), q in zip(proxy.named_parameters(), moved.parameters(), strict=True):
        if name in ("0.weight", "4.weight"):
            q.data += gamma * p.detach().norm() * p.grad / p.grad.norm()
    return moved


def test_it_goes_up_the_gradient_a_share_of_the_length_of_each_weight(batch):
    network = make()
    found = perturbation(network, loss_on(*batch), GAMMA)
    assert list(found) == ["0.weight", "4.weight"]
    F.cross_entropy(network(batch[0]), batch[1]).backward()
    for name, v in found.items():
        weight = network.get_parameter(name)
        assert (v.norm() / weight.norm()).item() == pytest.approx(GAMMA, rel=1e-12)
        cosine = F.cosine_similarity(v.flatten(), weight.grad.flatten(), dim=0)
        assert float(cosine) == pytest.approx(1, abs=1e-12)


def test_loss_gradient_and_statistics_are_those_at_the_moved_weights(batch):
    network = make()
    moved = by_hand(network, *batch, GAMMA)
    found = perturbed_loss(network, loss_on(*batch), GAMMA)
    wanted = loss_on(*batch)(moved)
    assert torch.allclose(found, wanted, atol=1e-12)
    assert found.mean().item() > 1.001 * loss_on(*batch)(make()).mean().item()
    found.mean().backward()
    wanted.mean().backward()
    for one, other in zip(network.parameters(), moved.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-12)
    for one, other in zip(network.buffers(), moved.buffers(), strict=True):
        assert torch.allclose(one, other, atol=1e-12)
    assert int(network[1].num_batches_tracked) == 1


def test_the_pass_that_finds_it_moves_no_statistics(batch):
    network, before = make(), make().state_dict()
    perturbation(network, loss_on(*batch), GAMMA)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("failing_call", [None, 1, 2])
def test_weights_are_the_same_objects_to_the_bit_also_after_an_error(batch, failing_call):
    network, before = make(), make().state_dict()
    parameters, calls = list(network.parameters()), []

    def loss(net):
        calls.append(net[0].weight.detach().clone())
        values = loss_on(*batch)(net)
        if len(calls) == failing_call:
            raise ArithmeticError
        return values

    if failing_call is None:
        perturbed_loss(network, loss, GAMMA).mean().backward()
        assert not torch.equal(calls[0], calls[1])
    else:
        with pytest.raises(ArithmeticError):
            perturbed_loss(network, loss, GAMMA)
    assert all(one is other for one, other in zip(parameters, network.parameters(), strict=True))
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name])


def test_a_layer_without_a_gradient_stays(batch):
    network = make()
    network[0].requires_grad_(False)
    assert list(perturbation(network, loss_on(*batch), GAMMA)) == ["4.weight"]
    still = perturbation(make(), lambda net: 0 * loss_on(*batch)(net), GAMMA)
    assert all(not v.any() for v in still.values())
    unused = perturbation(make(), lambda net: net[4].weight.sum(dim=1), GAMMA)
    assert list(unused) == ["4.weight"]


def test_validation_has_the_plain_loss(batch):
    network = make()
    with eval_mode(network):
        assert torch.equal(
            perturbed_loss(network, loss_on(*batch), GAMMA), loss_on(*batch)(network)
        )


def test_tied_weights_move_together(batch):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(self.first(x.flatten(1)))[:, :3]

    seen = []

    def loss(net):
        assert net.first.weight is net.second.weight
        seen.append(net.first.weight)
        return loss_on(*batch)(net)

    perturbed_loss(Tied().double(), loss, GAMMA)
    assert not torch.equal(*seen)


@pytest.mark.parametrize("gamma", [0.0, GAMMA])
def test_a_training_with_it_is_that_of_a_loop_by_hand(gamma, tmp_path):
    """SGD with momentum: v is gone before the step, so that w + v leaves no trace in w."""

    def network():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(data().x[0].numel(), 3)).double()

    def plain(net, x, y):
        return F.cross_entropy(net(x.double()), y, reduction="none")

    batches, trained = [], network()

    def loss(net, x, y):
        batches.append((x.double(), y))
        return perturbed_loss(net, lambda net: plain(net, x, y), gamma)

    fit(trained, data(), loss, context(tmp_path), Recipe(4, 8, 0.1, weight_decay=0.01))
    wanted = network()
    optimizer = torch.optim.SGD(wanted.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
    for x, y in batches:
        weight = wanted[1].weight
        (g,) = torch.autograd.grad(plain(wanted, x, y).mean(), weight)
        w = weight.detach().clone()
        weight.data = w + gamma * w.norm() * g / g.norm()
        optimizer.zero_grad()
        plain(wanted, x, y).mean().backward()
        weight.data = w
        optimizer.step()
    for one, other in zip(trained.parameters(), wanted.parameters(), strict=True):
        assert torch.equal(one, other) if gamma == 0 else torch.allclose(one, other, atol=1e-12)
