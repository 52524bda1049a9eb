"""Fine-tuning and distilling students beside loops by hand, on ResNet-20, one thread."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from harness.runtime.contracts import Data, Spec
from harness.runtime.recipe import Recipe
from harness.runtime.tasks import loss_for
from harness.runtime.training import fit, fit_by_recipe
from tests.speed.networks import resnet20
from tests.support.modules import context, module

SPEC = Spec("classification", 10, (3, 32, 32))
STAGES, HEAD = ("5", "8", "11"), "14"
STEPS, BATCH, LR = 20, 64, 0.01
RECIPE = Recipe(steps=STEPS, batch=BATCH, lr=LR, momentum=0.9)


class Victim(SimpleNamespace):
    """ResNet-20 as a victim."""

    def __init__(self):
        super().__init__(
            head=HEAD, stages=STAGES, build=lambda spec: resnet20(), recipe=lambda train: RECIPE
        )

    def fit(self, *args):
        fit_by_recipe(self, *args)


@pytest.fixture(scope="module")
def subject():
    """A network, and 640 pictures."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    raw = torch.randint(0, 256, (640, *SPEC.shape), dtype=torch.uint8)
    data = Data(raw, torch.arange(640) % 10, torch.arange(640), SPEC, torch.device("cpu"))
    return resnet20(), data


def by_hand(network, data, term=lambda: 0.0, before=lambda x: None):
    rule = torch.optim.SGD(network.train().parameters(), lr=LR, momentum=0.9)
    for step in range(STEPS):
        rows = torch.arange(BATCH) + step * BATCH % len(data)
        x, y = data.raw[rows].float() / 255, data.y[rows]
        before(x)
        loss = F.cross_entropy(network(x), y) + term()
        rule.zero_grad()
        loss.backward()
        rule.step()


def distilled_by_hand(network, data):
    teacher, own, theirs = copy.deepcopy(network).eval(), [], []
    for path in STAGES:
        teacher.get_submodule(path).register_forward_hook(lambda m, i, o: theirs.append(o))
        stage = network.get_submodule(path)
        stage.register_forward_hook(lambda m, i, o: own.append(o))
        stage.register_forward_hook(lambda m, i, o: F.dropout2d(o, 0.1, m.training))

    def before(x):
        own.clear()
        theirs.clear()
        with torch.no_grad():
            teacher(x)

    def term():
        return 5 * sum(F.mse_loss(a, b) for a, b in zip(own, theirs, strict=True))

    by_hand(network, data, term, before)


def by_recipe(network, data, folder):
    fit(network, data, loss_for(SPEC), context(folder, SPEC), RECIPE)


def distilled(network, data, folder):
    options = {"passes": 1, "second": 0, "average_every": 0, "reset": False}
    method = module("defense", "transfer-training", "renofeation", **options)
    val = replace(data, raw=data.raw[:0], y=data.y[:0], ids=data.ids[:0])
    method.fit(Victim(), network, data, val, None, context(folder, SPEC))


WAYS = {
    ("fine-tuning", "plain loop"): lambda net, data, folder: by_hand(net, data),
    ("fine-tuning", "gauntlet"): by_recipe,
    ("Renofeation", "plain loop"): lambda net, data, folder: distilled_by_hand(net, data),
    ("Renofeation", "gauntlet"): distilled,
}


@pytest.mark.parametrize(("method", "whose"), WAYS)
def test_steps_of_a_student(benchmark, subject, tmp_path, method, whose):
    network, data = subject
    benchmark.group = f"{method}, {STEPS} steps of ResNet-20 at batch {BATCH}, one thread"
    benchmark.pedantic(
        WAYS[method, whose],
        setup=lambda: ((copy.deepcopy(network), data, tmp_path), {}),
        rounds=5,
        warmup_rounds=1,
    )
