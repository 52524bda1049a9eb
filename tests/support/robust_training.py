"""The loss that a defence against an adversary trains with, and a network to try it on."""

import copy
from types import SimpleNamespace

import torch
from torch import nn

from harness.runtime.contracts import Data, Spec
from tests.support.modules import context, module

SPEC = Spec("classification", 4, (1, 5, 5))
CPU = torch.device("cpu")


def network():
    """A small network in float64, in train mode, with one weight tensor in front of batch norm."""
    torch.manual_seed(0)
    layers = nn.Flatten(), nn.Linear(25, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Linear(12, 4)
    return nn.Sequential(*layers).double().train()


def batch():
    random = torch.Generator().manual_seed(1)
    x = torch.rand(16, 1, 5, 5, generator=random, dtype=torch.float64)
    return x, torch.randint(0, 4, (16,), generator=random)


def push(net, x, y):
    """An adversary that needs no search, and sees the network as it was before a perturbation."""
    return (x + 0.2 * torch.sin(37 * x + y[:, None, None, None])).clamp(0, 1)


def train_data(count=64):
    random = torch.Generator().manual_seed(2)
    raw = torch.randint(0, 256, (count, 1, 5, 5), generator=random, dtype=torch.uint8)
    return Data(raw, torch.arange(count) % 4, torch.arange(count), SPEC, CPU)


def loss_of(name, folder, **params):
    """The function that a defence gives to the victim's ``fit``."""
    found = []
    victim = SimpleNamespace(fit=lambda network, train, val, loss, ctx: found.append(loss))
    made, data = module("defense", name, **params), train_data()
    made.fit(victim, None, data, data, push, context(folder, SPEC))
    return found[0]


def train(folder, run):
    """The state of a network after eight steps: ``run(victim, network, data, ctx)`` trains it."""
    folder.mkdir()
    victim, data = module("victim", "small-cnn", width=4, steps=8, batch=16), train_data()
    torch.manual_seed(0)
    net = victim.build(SPEC)
    run(victim, net, data, context(folder, SPEC))
    return net.state_dict()


def trained(name, folder, **params):
    """The state after a defence's training against ``push``."""
    made = module("defense", name, **params)
    return train(
        folder, lambda victim, net, data, ctx: made.fit(victim, net, data, data, push, ctx)
    )


def trained_by(loss, folder):
    """The state after the victim's training on a loss."""
    return train(folder, lambda victim, net, data, ctx: victim.fit(net, data, data, loss, ctx))


def perturbed(net, value, gamma):
    """A copy of a network whose weights went up a mean loss, as the authors of AWP write it."""
    proxy, moved = copy.deepcopy(net), copy.deepcopy(net)
    value(proxy).mean().backward()
    for there, here in zip(proxy.parameters(), moved.parameters(), strict=True):
        if here.ndim > 1:
            here.data += gamma * there.detach().norm() * there.grad / there.grad.norm()
    return moved


def same(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


def equal(net, found, other, wanted):
    """Whether losses ``[B]`` of two networks are equal, and so are their gradients, to 1e-6."""
    pairs = ((found, wanted), (gradients(net, found), gradients(other, wanted)))
    return all(torch.allclose(one, two, atol=1e-6, rtol=0) for one, two in pairs)


def gradients(net, values):
    """The gradient of a mean loss in all parameters, as one vector."""
    return torch.cat([g.flatten() for g in torch.autograd.grad(values.mean(), net.parameters())])
