"""PGD against a network in another process beside the same in one process, in one run."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from harness import datasets
from harness.runtime.contracts import Budget, Data, Spec
from harness.runtime.model import freeze
from harness.runtime.tasks import loss_for
from tests.speed.networks import trained_resnet20
from tests.support.modules import context, module
from tests.support.network_service import live_of, served

CPU = torch.device("cpu")
ROUNDS = 7


class Trial(NamedTuple):
    """A network and a batch of inputs.

    Attributes:
        network: the network.
        spec: its data set.
        x: inputs.
        y: labels.
        steps: steps of PGD.
    """

    network: nn.Module
    spec: Spec
    x: Tensor
    y: Tensor
    steps: int


def resnet(folder) -> Trial:
    network, x, y = trained_resnet20(folder)
    return Trial(network, Spec("classification", 10, (3, 32, 32)), x[:64], y[:64], 40)


def small_cnn(folder) -> Trial:
    splits, spec = datasets.load("digits", folder), Spec("classification", 10, (1, 8, 8))
    victim = module("victim", "small-cnn")
    torch.manual_seed(0)
    network = victim.build(spec)
    train, val = (
        Data(torch.from_numpy(s.x), torch.from_numpy(s.y), torch.from_numpy(s.ids), spec, CPU)
        for s in (splits.train, splits.val)
    )
    victim.fit(network, train, val, loss_for(spec), context(folder, spec))
    x, y = torch.from_numpy(splits.test.x).float() / 255, torch.from_numpy(splits.test.y)
    return Trial(network, spec, x[:250], y[:250], 40)


def enet(folder) -> Trial:
    spec = Spec("segmentation", 11, (3, 360, 480), void=255)
    torch.manual_seed(0)
    network = module("victim", "enet").build(spec)
    x, y = torch.rand(2, *spec.shape), torch.randint(11, (2, *spec.shape[1:])).to(torch.uint8)
    return Trial(network, spec, x, y, 3)


TRIALS = {
    "ResNet-20, batch 64, PGD-40": resnet,
    "small-cnn on digits, batch 250, PGD-40": small_cnn,
    "ENet, 2 of 360 x 480, PGD-3": enet,
}


@pytest.fixture(scope="module", params=TRIALS)
def trial(request, tmp_path_factory):
    torch.set_num_threads(1)
    found = TRIALS[request.param](tmp_path_factory.mktemp("border"))
    freeze(found.network)
    return request.param, found, {}


@pytest.mark.parametrize("where", ["in one process", "across the border"])
def test_pgd(benchmark, tmp_path, trial, where) -> None:
    name, (network, spec, x, y, steps), results = trial
    benchmark.group = f"{name}, one thread"
    live, budget = live_of(network, spec), Budget(norm="linf", eps=8 / 255)
    attack, ctx = module("attack", "pgd", steps=steps), context(tmp_path, spec)
    with served(live, process=True) as service:
        model = live if where == "in one process" else service.model
        found = benchmark.pedantic(
            lambda: attack.perturb(model, x.clone(), y, None, budget, ctx),
            rounds=ROUNDS,
            warmup_rounds=1,
        )
    assert torch.equal(found, results.setdefault(name, found))  # to the bit
