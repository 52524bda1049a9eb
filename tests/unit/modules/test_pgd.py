"""PGD's objectives and its end, against plain loops."""

import pytest
import torch
import torch.nn.functional as F

from harness.runtime.contracts import Budget
from harness.runtime.gradients import random_start
from tests.support.bent_network import SPEC, bent
from tests.support.modules import context, live, module

EPS, STEPS, SHARE = 0.05, 6, 0.25


@pytest.fixture
def network():
    """Return a network that bends, with margins that a search crosses on some of the inputs."""
    return bent()


@pytest.fixture
def inputs():
    return torch.rand(80, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def attack(network, x, y, folder, **params):
    made = module("attack", "pgd", steps=STEPS, rel_stepsize=SHARE, **params)
    budget = Budget(norm="linf", eps=EPS)
    return made.perturb(live(network, SPEC), x, y, None, budget, context(folder, SPEC))


def start(x, folder, restart=0):
    return random_start(x, "linf", EPS, context(folder, SPEC).generator("start", restart))


def loop(network, x, at, value, ends=None):
    """The papers' loop: all steps on all rows, or none of a row that has come to its end."""
    for _ in range(STEPS):
        at = at.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(value(network(at)), at)
        stays = ends(network(at.detach())) if ends else torch.zeros(len(x), dtype=torch.bool)
        step = (at + SHARE * EPS * gradient.sign()).clamp(x - EPS, x + EPS).clamp(0, 1)
        at = torch.where(stays[:, None, None, None], at, step).detach()
    return at


def cross_entropy(y):
    return lambda logits: F.cross_entropy(logits, y, reduction="sum")


def test_kl_is_the_inner_loop_of_trades_and_asks_for_no_label(network, inputs, tmp_path):
    clean = F.softmax(network(inputs), dim=1).detach()

    def value(logits):
        return F.kl_div(F.log_softmax(logits, dim=1), clean, reduction="sum")

    wanted = loop(network, inputs, start(inputs, tmp_path), value)
    for seed in (1, 2):
        y = torch.randint(0, 5, (80,), generator=torch.Generator().manual_seed(seed))
        found = attack(network, inputs, y, tmp_path, objective="kl")
        assert torch.allclose(found, wanted, atol=1e-6)
    assert int((network(found).argmax(1) != network(inputs).argmax(1)).sum()) > 0


def test_kl_needs_a_random_start():
    with pytest.raises(ValueError, match="random_start"):
        module("attack", "pgd", objective="kl", random_start=False)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_an_example_ends_at_the_boundary_or_after_all_steps(
    network, inputs, tmp_path, early_stopping
):
    y = network(inputs).argmax(1)
    ends = (lambda logits: logits.argmax(1) != y) if early_stopping else None
    wanted = loop(network, inputs, start(inputs, tmp_path), cross_entropy(y), ends)
    found = attack(network, inputs, y, tmp_path, early_stopping=early_stopping)
    assert torch.allclose(found, wanted, atol=1e-6)
    wrong = network(found).argmax(1) != y
    assert 0 < int(wrong.sum()) < len(y)


def test_all_steps_raise_the_loss_of_what_is_wrong_already(network, inputs, tmp_path):
    y = network(inputs).argmax(1)
    short, whole = (
        F.cross_entropy(network(attack(network, inputs, y, tmp_path, early_stopping=early)), y)
        for early in (True, False)
    )
    assert whole.item() > 1.03 * short.item()


@pytest.mark.parametrize("objective", ["ce", "kl"])
def test_restarts_that_take_all_steps_keep_the_largest_loss_of_the_successes(
    network, inputs, tmp_path, objective
):
    y, kept, best = network(inputs).argmax(1), None, None
    clean = network(inputs).log_softmax(dim=1).detach()

    def losses(logits):
        if objective == "ce":
            return F.cross_entropy(logits, y, reduction="none")
        return F.kl_div(logits.log_softmax(1), clean, reduction="none", log_target=True).sum(1)

    for restart in range(4):
        at = start(inputs, tmp_path, restart)
        end = loop(network, inputs, at, lambda logits: losses(logits).sum())
        logits = network(end).detach()
        rank = losses(logits).detach() + 1000 * (logits.argmax(1) != y)
        if kept is None:
            kept, best = end.clone(), rank
        better = rank > best
        kept[better], best = end[better], torch.maximum(rank, best)
    params = {"restarts": 4, "early_stopping": False, "objective": objective}
    assert torch.allclose(attack(network, inputs, y, tmp_path, **params), kept, atol=1e-6)
