"""Attacks that look for the nearest wrong input: networks to attack, and what is to be found."""

import numpy as np
import torch
from torch import nn

from harness.runtime.contracts import Budget, Spec
from harness.runtime.worker.batches import Batch
from tests.support.modules import context, live, module
from tests.support.nearest_inputs import lengths

ORDERS = {"l2": 2.0, "linf": torch.inf}


def attack(name, network, x, y, norm, folder, goal=None, rows=None, **params):
    """What an attack finds; ``rows`` are those of the batch that it is given."""
    spec = Spec("classification", network(x[:1]).shape[1], tuple(x.shape[1:]))
    ctx, budget = context(folder, spec), Budget(norm=norm, minimal=True)
    places = torch.arange(len(x)) if rows is None else rows
    own = module("attack", name, **params)
    goal = goal if goal is None else goal[places]
    with ctx.batch(Batch(places, 0, len(x), places)):
        return own.perturb(live(network, spec), x[places], y[places], goal, budget, ctx)


def median(network, x, y, found, norm):
    """Median distance: 0 where the clean input is wrong, infinite where none was found."""
    with torch.no_grad():
        before, after = (network(one).argmax(1) != y for one in (x, found))
    distances = torch.where(after, lengths(found - x, norm), torch.inf)
    return float(np.median(torch.where(before, 0, distances)))


class Rowwise(nn.Module):
    """Two layers without a matrix product, so that a row's bits do not depend on the batch."""

    def __init__(self, factor):
        super().__init__()
        random = torch.Generator().manual_seed(3)
        self.first = torch.randn(20, 16, generator=random)
        self.second = factor * torch.randn(5, 20, generator=random)

    def forward(self, x):
        hidden = (x.flatten(1)[:, None] * self.first).sum(2).tanh()
        return (hidden[:, None] * self.second).sum(2)


def teacher(rows=200, factor=1.0):
    """Such a network, random inputs, and what it answers."""
    network = Rowwise(factor)
    x = torch.rand(rows, 1, 4, 4, generator=torch.Generator().manual_seed(4))
    return network, x, network(x).argmax(1)


class NoNumber(nn.Module):
    """Its logits and its gradients are not numbers."""

    def forward(self, x):
        return x.flatten(1)[:, :4] * torch.nan


def linear(classes=5):
    """A linear network, inputs around which the box is far, and its labels."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, classes)).eval()
    with torch.no_grad():
        network[1].bias.copy_(-network[1].weight.sum(1) / 2)
    x = 0.3 + 0.4 * torch.rand(40, 1, 4, 4)
    return network, x, network(x).argmax(1)


def never_wrong():
    """A linear network whose answer is the same at all corners of the box."""
    network, x, y = linear()
    with torch.no_grad():
        network[1].bias[0] += 100
    return network, x, torch.zeros_like(y)


def asked(name, network, x, y, norm, folder, **params):
    """What an attack asks a network, in order; the first batch is the clean one."""
    seen = []
    handle = network.register_forward_hook(lambda network, given, _: seen.append(given[0].detach()))
    attack(name, network, x, y, norm, folder, **params)
    handle.remove()
    return seen[1:]


def closed_form(network, x, y, norm, goal=None):
    """Distance of each input to the nearest wrong class, or to the goal, of a linear network."""
    w, logits = network[1].weight, network(x)
    gaps = logits.gather(1, y[:, None]) - logits
    dual = torch.linalg.vector_norm(w[y][:, None] - w, ord=1 if norm == "linf" else 2, dim=2)
    found = (gaps / dual).scatter(1, y[:, None], torch.inf).double().detach()
    return found.amin(1) if goal is None else found.gather(1, goal[:, None]).squeeze(1)


def flat():
    """A network without a gradient, large inputs, and what it answers."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4096, 3))
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    return network, torch.rand(2, 1, 64, 64), torch.zeros(2, dtype=torch.int64)


def keeps_the_rules(name, norm, folder, **params):
    """Assert what holds of every such attack; return the share of inputs that it made wrong."""
    network, x, y = teacher(24)
    y[:4] = (y[:4] + 1) % 5
    found = attack(name, network, x, y, norm, folder, **params)
    assert found.dtype == torch.float32
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(found[:4], x[:4])  # wrong already
    wrong = network(found).argmax(1) != y
    assert torch.equal(found[~wrong], x[~wrong])
    for rows in (torch.arange(5), torch.tensor([7, 3, 20])):
        part = attack(name, network, x, y, norm, folder, rows=rows, **params)
        assert torch.equal(part, found[rows])
    once = attack(name, network, x, y, norm, folder, **params | {"steps": 1})
    assert (once != x).any()  # the last point is tried, too
    assert torch.equal(attack(name, *never_wrong(), norm, folder, **params), never_wrong()[1])
    zeros = torch.zeros(24, dtype=torch.int64)
    for given in asked(name, NoNumber(), teacher(24)[1], zeros, norm, folder, **params):
        assert given.isfinite().all()
    return float(wrong[4:].float().mean())
