"""ENet under attack, beside plain loops on the same network, batch and memory format."""

import copy

import pytest
import torch
import torch.nn.functional as F

from harness.runtime.contracts import Budget, Spec
from harness.runtime.model import freeze
from tests.support.modules import context, live, module

SPEC = Spec("segmentation", 11, (3, 360, 480), void=255)
EPS, STEPS = 8 / 255, 10


@pytest.fixture(scope="module")
def subject():
    """An untrained ENet, four pictures of CamVid's size, labels with a tenth of void."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = freeze(module("victim", "enet").build(SPEC))
    random = torch.Generator().manual_seed(1)
    x = torch.rand(4, *SPEC.shape, generator=random)
    y = torch.randint(0, 11, (4, 360, 480), generator=random, dtype=torch.uint8)
    y[:, :36] = 255
    return network, x, y


def gradient(network, x, y):
    """Forward pass and gradient of the input, as a plain loop has it."""
    at = x.detach().requires_grad_()
    loss = F.cross_entropy(network(at), y, ignore_index=255, reduction="sum")
    return torch.autograd.grad(loss, at)[0]


def plain_pgd(network, x, y):
    at, labels = x, y.long()
    for _ in range(STEPS):
        at = at.detach() + 2.5 * EPS / STEPS * gradient(network, at, labels).sign()
        at = torch.clamp(torch.minimum(torch.maximum(at, x - EPS), x + EPS), 0, 1)
    return at


def our_pgd(network, x, y, folder):
    attack = module("attack", "pgd", steps=STEPS, rel_stepsize=2.5 / STEPS, random_start=False)
    model, ctx = live(network, SPEC), context(folder, SPEC)
    return attack.perturb(model, x, y, None, Budget(norm="linf", eps=EPS), ctx)


def test_both_do_the_same(subject, tmp_path):
    network, x, y = subject
    found = our_pgd(copy.deepcopy(network), x[:1], y[:1], tmp_path)
    wanted = plain_pgd(network, x[:1], y[:1])
    assert ((found - wanted).abs() > 1e-6).float().mean() < 0.02  # signs of gradients near zero


@pytest.mark.parametrize("whose", ["plain loop", "gauntlet"])
def test_pgd_10_of_enet(benchmark, subject, tmp_path, whose):
    network, x, y = copy.deepcopy(subject[0]), *subject[1:]
    benchmark.group = "PGD-10, ENet, 4 pictures of 360x480, one thread"
    run = (lambda: plain_pgd(network, x, y)) if whose == "plain loop" else (
        lambda: our_pgd(network, x, y, tmp_path)
    )  # fmt: skip
    benchmark.pedantic(run, rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("arrangement", ["contiguous, all parameters trainable", "frozen"])
def test_enet_s_input_gradient(benchmark, subject, arrangement):
    network, x, y = copy.deepcopy(subject[0]), *subject[1:]
    benchmark.group = "ENet, forward and input gradient, 4 pictures of 360x480, one thread"
    if arrangement != "frozen":
        network = network.requires_grad_(True).to(memory_format=torch.contiguous_format)
    benchmark.pedantic(lambda: gradient(network, x, y.long()), rounds=5, warmup_rounds=1)
