"""FGSM: one step from the clean input, or from a random point of the ball."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.runtime.contracts import Budget, Spec
from harness.runtime.gradients import random_start
from tests.support.modules import context, live, module

SPEC = Spec("classification", 5, (1, 6, 6))
RADIUS = {"linf": 0.05, "l2": 0.5}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(128, 5)).eval()


def attack(network, x, y, norm, folder, goal=None, variant=None, **params):
    made, budget = module("attack", "fgsm", variant, **params), Budget(norm=norm, eps=RADIUS[norm])
    return made.perturb(live(network, SPEC), x, y, goal, budget, context(folder, SPEC))


def step(network, at, y, norm, sign=1):
    at = at.clone().requires_grad_()
    loss = F.cross_entropy(network(at), y, reduction="sum")
    (gradient,) = torch.autograd.grad(sign * loss, at)
    if norm == "linf":
        return gradient.sign()
    return gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]


@pytest.mark.parametrize("norm", RADIUS)
@pytest.mark.parametrize("targeted", [False, True])
def test_the_default_is_one_whole_step_from_the_clean_input(network, tmp_path, norm, targeted):
    # far from 0 and 1, so that nothing is clipped
    x = 0.5 + 0.2 * torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    y = network(x).argmax(1)
    goal = (y + 1) % 5 if targeted else None
    found = attack(network, x, y, norm, tmp_path, goal)
    direction = step(network, x, goal if targeted else y, norm, -1 if targeted else 1)
    assert torch.allclose(found, x + RADIUS[norm] * direction, atol=1e-6)


def test_the_random_start_is_the_fast_step_of_wong_rice_and_kolter(network, tmp_path):
    """Their program: δ ~ U(−ε, ε); δ += 1.25 ε sign g; δ clipped to ±ε; x + δ to [0, 1]."""
    x = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    y, eps = network(x).argmax(1), RADIUS["linf"]
    start = random_start(x, "linf", eps, context(tmp_path, SPEC).generator("start"))
    delta = (start - x + 1.25 * eps * step(network, start, y, "linf")).clamp(-eps, eps)
    found = attack(network, x, y, "linf", tmp_path, variant="random-start")
    assert torch.allclose(found, (x + delta).clamp(0, 1), atol=1e-6)
    inside = ((found - x).abs() < 0.99 * eps) & (found > 0) & (found < 1)
    assert 0.2 < float(inside.float().mean()) < 0.5  # a start more than ¼ ε from its face


@pytest.mark.parametrize("norm", RADIUS)
def test_a_long_step_from_a_random_start_stays_in_the_ball(network, tmp_path, norm):
    x = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    y, eps = network(x).argmax(1), RADIUS[norm]
    found = attack(network, x, y, norm, tmp_path, random_start=True, rel_stepsize=3.0)
    order = float("inf") if norm == "linf" else 2
    assert float((found - x).double().flatten(1).norm(order, dim=1).max()) <= eps + 1e-6
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
