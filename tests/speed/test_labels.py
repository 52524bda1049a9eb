"""An attack's steps on dense labels beside the same steps on ordinary ones, on ResNet-20."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from harness.runtime.contracts import Budget, Spec
from harness.runtime.gradients import gradient_of
from harness.runtime.tasks import loss_for
from tests.speed.networks import resnet20
from tests.support.labels import defense
from tests.support.modules import context, live, module

SPEC = Spec("classification", 10, (3, 32, 32))
HEAD, FEATURES = "14", 64
STEPS, BATCH = 10, 64
VICTIM = SimpleNamespace(head=HEAD, build=lambda spec: resnet20())
ATTACK = {"steps": STEPS, "gradients": "fresh"}


@pytest.fixture(scope="module")
def subject():
    """A dense network and one with ordinary labels, with the losses that they are trained with."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    labels = defense("random")
    dense, plain = labels.build(VICTIM, SPEC).eval(), resnet20().eval()
    return {"dense labels": (dense, labels.loss), "ordinary labels": (plain, loss_for(SPEC))}


def attack(network, loss, x, y, folder):
    rule, budget = module("attack", "training-loss", **ATTACK), Budget(norm="linf", eps=8 / 255)
    return rule.perturb(live(network, SPEC, loss), x, y, None, budget, context(folder, SPEC))


def head_alone(network, y):
    """What the head of dense labels costs: as many passes of it as the attack has steps."""
    head, labels = network.get_submodule(HEAD), network.get_submodule(HEAD).decode.codebook
    features = torch.rand(BATCH, FEATURES)
    for _ in range(STEPS):
        gradient_of(
            lambda z: nn.functional.smooth_l1_loss(
                head.draw(z), labels[y], reduction="none"
            ).mean(dim=1), features)  # fmt: skip


@pytest.mark.parametrize("what", ["ordinary labels and the head", "dense labels"])
def test_steps_on_a_training_loss(benchmark, subject, tmp_path, what):
    x, y = torch.rand(BATCH, *SPEC.shape), torch.arange(BATCH) % 10
    benchmark.group = f"{STEPS} steps on the training loss, ResNet-20, batch {BATCH}, one thread"

    def run():
        if what == "dense labels":
            return attack(*subject["dense labels"], x, y, tmp_path)
        head_alone(subject["dense labels"][0], y)
        return attack(*subject["ordinary labels"], x, y, tmp_path)

    benchmark.pedantic(run, rounds=5, warmup_rounds=1)
