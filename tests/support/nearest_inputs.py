"""Attacks that look for the nearest wrong input: networks to try them on, and what they found."""

from functools import cache
from pathlib import Path

import torch
from torch import nn

from harness.runtime.contracts import Budget, Spec
from harness.runtime.model import freeze
from tests.support.modules import context, live, module


def points():
    """Inputs of 4 × 4 values, far from the ends of the box."""
    return 0.3 + 0.4 * torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def linear(classes=5, factor=1.0):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, classes))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(factor)
    return freeze(network)


def closed_form(network, x, y, norm):
    """Distance of each input to the nearest wrong class of a linear network, box aside."""
    w, logits = network[1].weight, network(x)
    gaps = logits.gather(1, y[:, None]) - logits
    lengths = torch.linalg.vector_norm(w[y][:, None] - w, ord={"linf": 1, "l2": 2}[norm], dim=2)
    return (gaps / lengths).scatter(1, y[:, None], torch.inf).amin(1)


def wrong_by_a_hair():
    """A network of two classes, and an input whose second logit leads by one in a million."""
    network = linear(classes=2)
    network[1].weight[1] = -network[1].weight[0]
    x = torch.full((1, 1, 4, 4), 0.5)
    network[1].bias.copy_(1 - network[1].weight.sum(1) / 2 + torch.tensor([0, 2e-6]))
    logits = network(x)[0]
    assert 0 < logits[1] - logits[0] < 5e-6
    return network, x


class NanGradient(nn.Module):
    """Takes finite inputs alone, and returns finite logits whose gradient is NaN."""

    def forward(self, x):
        assert x.isfinite().all()
        return (x.flatten(1)[:, :3] * 0).sqrt() + torch.tensor([1.0, 0, 0])


@cache
def trained():
    """A small network that has learned a random teacher's classes, and 100 inputs with them."""
    torch.manual_seed(3)
    x = torch.rand(600, 1, 4, 4)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(16, 40), nn.Tanh(), nn.Linear(40, 5))
    with torch.no_grad():
        scores = teacher(x)
    y = (scores - scores.mean(0)).argmax(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 40), nn.ReLU(), nn.Linear(40, 5))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    assert (network(x).argmax(1) == y).float().mean() > 0.98
    return freeze(network), x[:100], y[:100]


def search(name, norm, network, x, y, goal=None, **params):
    """What an attack finds under ``{norm: …, minimal: true}``; inputs in [0, 1]."""
    spec = Spec("classification", network(x[:1]).shape[1], tuple(x.shape[1:]))
    budget, ctx = Budget(norm=norm, minimal=True), context(Path("nowhere"), spec)
    attack = module("attack", name, **params)
    found = attack.perturb(live(network, spec), x.clone(), y, goal, budget, ctx)
    assert found.dtype == torch.float32
    assert found.shape == x.shape
    assert ((found >= 0) & (found <= 1)).all()
    return found


def lengths(change, norm):
    order = {"linf": torch.inf, "l2": 2}[norm]
    return torch.linalg.vector_norm(change.flatten(1), ord=order, dim=1, dtype=torch.float64)


def distances(network, found, x, y, norm):
    """As judged: 0 where the input is wrong already, infinite where what was found is right."""
    right, right_after = (network(one).argmax(1) == y for one in (x, found))
    reached = torch.where(right_after, torch.inf, lengths(found - x, norm))
    return torch.where(right, reached, 0.0)
