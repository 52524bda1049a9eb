"""The linear probe: fitted to features, attacked through, and judged by the network's own head."""

import shutil
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from harness.common.keys import ROOT
from harness.judge.budget import check_perturbation, measure
from harness.runtime.contracts import Budget, Data, Spec
from harness.runtime.model import LiveModel
from harness.runtime.tasks import loss_for
from tests.support.modules import context, module
from tests.support.workspaces import Checkout, cell, matrix

SPEC = Spec("classification", 4, (3, 6, 6))
LINF = {"norm": "linf", "eps": 24 / 255}


def blobs(rows, seed):
    """Noisy pictures of four classes, stored as bytes."""
    prototypes = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(9))
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (rows,), generator=generator)
    noise = torch.randn(rows, 3, 6, 6, generator=generator)
    raw = (255 * (0.3 + 0.4 * prototypes[y] + 0.25 * noise).clamp(0, 1)).round().to(torch.uint8)
    return Data(raw, y, torch.arange(rows), SPEC, torch.device("cpu"))


TRAIN, VAL, TEST = blobs(600, 0), blobs(100, 1), blobs(150, 2)


def linear():
    """A network that is one linear layer, trained: its features are the pixels."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 4))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02, weight_decay=1e-4)
    x, y = TRAIN.take(torch.arange(len(TRAIN)))
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network


def held(network, head="1", needs=("features", "loss", "gradients")):
    victim = SimpleNamespace(head=head, stages=())
    return LiveModel(network, network, victim, SPEC, lambda: network, loss_for(SPEC), needs)


def probed(folder, model, budget=LINF, goal=None, **params):
    """The fitted probe and the attacked test pictures."""
    attack, ctx = module("attack", "linear-probe", **params), context(folder, SPEC)
    attack.learn(model, TRAIN, VAL, Budget(**budget), ctx)
    x, y = TEST.take(torch.arange(len(TEST)))
    found = attack.perturb(model, x, y, goal, Budget(**budget), ctx)
    return load_file(folder / "probe.safetensors"), found


def right(network, x):
    return float((network(x).argmax(1) == TEST.y).float().mean())


def test_a_linear_network_is_attacked_as_by_pgd_on_itself(tmp_path):
    """Its head is the probe then: in L∞ each input ends in the corner that its margin points to."""
    network = linear()
    probe, _ = probed(tmp_path, held(network, needs=("features",)))
    with torch.no_grad():
        network[1].weight.copy_(probe["weight"])
        network[1].bias.copy_(probe["bias"])
    model = held(network)
    found = probed(tmp_path, model, random_start=False, rel_stepsize=1, steps=1)[1]
    x, y = TEST.take(torch.arange(len(TEST)))
    leaf = x.clone().requires_grad_()
    logits = network(leaf)
    others = logits.scatter(1, y[:, None], -torch.inf).amax(1)
    (gradient,) = torch.autograd.grad((others - logits.gather(1, y[:, None])[:, 0]).sum(), leaf)
    assert torch.allclose(found, (x + LINF["eps"] * gradient.sign()).clamp(0, 1), atol=1e-6)


def test_a_fitted_probe_takes_a_linear_network_as_far_down_as_pgd(tmp_path):
    network = linear()
    model = held(network)
    clean = right(network, TEST.take(torch.arange(len(TEST)))[0])
    _, found = probed(tmp_path, model)
    pgd = module("attack", "pgd", "pgd-40")
    x, y = TEST.take(torch.arange(len(TEST)))
    own = pgd.perturb(model, x, y, None, Budget(**LINF), context(tmp_path, SPEC))
    assert clean > 0.9
    assert right(network, own) < 0.6
    assert right(network, own) - 0.05 <= right(network, found) <= right(network, own) + 0.1


def test_the_probe_minimises_its_loss(tmp_path):
    """The gradient of cross entropy and penalty is zero there, for standardised features."""
    probe, _ = probed(tmp_path, held(linear()), decay=0.01)
    x, y = TRAIN.take(torch.arange(len(TRAIN)))
    features = x.flatten(1)
    deviation = features.std(0, correction=0)
    weight = (probe["weight"] * deviation).requires_grad_()
    bias = (probe["bias"] + probe["weight"] @ features.mean(0)).requires_grad_()
    logits = F.linear((features - features.mean(0)) / deviation, weight, bias)
    loss = F.cross_entropy(logits, y) + 0.005 * weight.square().sum()
    for gradient in torch.autograd.grad(loss, (weight, bias)):
        assert float(gradient.abs().max()) < 1e-4


@pytest.mark.parametrize(
    "budget", [LINF, {"norm": "l2", "eps": 0.5}, {"norm": "linf", "eps": 1.0}, {"unbounded": True}]
)
def test_budgets_are_kept(tmp_path, budget):
    _, found = probed(tmp_path, held(linear()), budget)
    distances = measure(TEST.raw.numpy(), found.numpy())
    assert check_perturbation(distances, budget) is None
    assert float(distances.linf.min()) > 0


def test_a_goal_is_reached_more_often(tmp_path):
    network = linear()
    goal = (TEST.y + 1) % 4
    _, found = probed(tmp_path, held(network), goal=goal)
    hits = (network(found).argmax(1) == goal).float().mean()
    assert float(hits) > 0.3


class Saturated(nn.Module):
    """Logits so large that cross entropy has no gradient in float32."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return 1e6 * self.network(x)


def test_the_network_s_own_scores_do_not_matter(tmp_path):
    """The same features give the same inputs, whatever the head does with them."""
    plain = probed(tmp_path, held(linear()))[1]
    assert torch.equal(probed(tmp_path, held(Saturated(linear()), "network.1"))[1], plain)


def test_a_constant_feature_gets_no_weight_and_no_division_by_zero(tmp_path):
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(109, 4)

        def forward(self, x):
            return self.head(F.pad(x.flatten(1), (0, 1), value=3.0))

    probe, found = probed(tmp_path, held(Padded(), "head"))
    assert all(bool(value.isfinite().all()) for value in probe.values())
    assert bool(found.isfinite().all())


def test_examples_are_drawn_from_the_whole_set(tmp_path):
    """Training sets may be sorted by class."""
    order = TRAIN.y.argsort()
    ordered = Data(TRAIN.raw[order], TRAIN.y[order], TRAIN.ids, SPEC, torch.device("cpu"))
    attack, ctx = module("attack", "linear-probe", examples=100), context(tmp_path, SPEC)
    model = held(linear())
    attack.learn(model, ordered, VAL, Budget(**LINF), ctx)
    probe = load_file(tmp_path / "probe.safetensors")
    x, y = VAL.take(torch.arange(len(VAL)))
    answers = F.linear(x.flatten(1), **probe).argmax(1)
    assert set(answers.tolist()) == {0, 1, 2, 3}
    assert float((answers == y).float().mean()) > 0.7


def test_without_features_it_is_not_planned(tmp_path):
    own = Checkout(tmp_path)
    shutil.copytree(ROOT / "attacks" / "linear-probe", tmp_path / "attacks" / "linear-probe")
    only = cell(own.plan(matrix(attacks=["linear-probe"])))
    assert only.reason == "attack linear-probe needs features, which victim tiny does not offer"
    assert not only.stages
