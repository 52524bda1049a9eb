"""PGD-10's hook against torchattacks' on the same network, batch and examples, in one run."""

import copy
import json
from pathlib import Path

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from harness.runtime.contracts import Budget, Spec
from tests.speed.networks import trained_resnet20
from tests.support.modules import context, live, module

EPS, STEPS, BATCH = (
    16 / 255,
    10,
    64,
)  # half of the examples survive, so leaving out the fooled is no trick
SPEC = Spec("classification", 10, (3, 32, 32))


@pytest.fixture(scope="module")
def subject(tmp_path_factory) -> tuple[nn.Module, Tensor, Tensor]:
    torch.set_num_threads(1)
    return trained_resnet20(tmp_path_factory.mktemp("data"))


def ours(network: nn.Module, x: Tensor, y: Tensor, folder: Path) -> Tensor:
    attack = module("attack", "pgd", steps=STEPS, rel_stepsize=2.5 / STEPS)
    model, ctx, budget = live(network, SPEC), context(folder, SPEC), Budget(norm="linf", eps=EPS)
    return torch.cat([attack.perturb(model, a, b, None, budget, ctx) for a, b in batches(x, y)])


def theirs(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    attack = torchattacks.PGD(network, eps=EPS, alpha=2.5 * EPS / STEPS, steps=STEPS)
    return torch.cat([attack(a, b) for a, b in batches(x, y)])


def batches(x: Tensor, y: Tensor):
    return zip(x.split(BATCH), y.split(BATCH), strict=True)


def right(network: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float((network(x).argmax(dim=1) == y).float().mean())


def test_pgd_is_as_strong_as_torchattacks(subject, tmp_path) -> None:
    network, x, y = subject
    reference = copy.deepcopy(network)
    mine = ours(copy.deepcopy(network), x, y, tmp_path)
    other = theirs(copy.deepcopy(network), x, y)
    assert float((mine - x).abs().max()) <= EPS + 1e-6
    assert right(reference, x, y) > 0.9
    assert right(reference, mine, y) <= right(reference, other, y) + 0.005


@pytest.mark.parametrize("whose", ["torchattacks", "gauntlet"])
def test_pgd_10(benchmark, subject, tmp_path, whose: str) -> None:
    network, x, y = copy.deepcopy(subject[0]), subject[1][:128], subject[2][:128]
    benchmark.group = "PGD-10, ResNet-20, 128 inputs, batch 64, one thread"
    run = (lambda: theirs(network, x, y)) if whose == "torchattacks" else (
        lambda: ours(network, x, y, tmp_path)
    )  # fmt: skip
    adversarial = benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    benchmark.extra_info["robust accuracy"] = right(network, adversarial, y)
    print(json.dumps(benchmark.extra_info))
