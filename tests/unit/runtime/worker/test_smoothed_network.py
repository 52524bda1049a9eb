"""A smoothed network behind the border: mean softmax over noise that the harness draws."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from harness.runtime.contracts import Spec
from harness.runtime.model import freeze
from harness.runtime.worker.access import Access
from harness.runtime.worker.network_process import ASKS
from tests.support.network_service import live_of, served

SPEC = Spec("classification", 4, (1, 2, 2))
SAMPLES, SIGMA, SEED = 6, 0.3, 11
VICTIM = SimpleNamespace(head="head", stages=("body",))
X = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(1))
Y = torch.arange(5) % 4


class Curved(nn.Module):
    """A network whose gradient depends on its input."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Tanh())
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return 5 * self.head(self.body(x))


def access(**changes):
    settings = {
        "asks": set(ASKS), "examples": 5, "samples": SAMPLES, "kept": SAMPLES,
        "noise": SIGMA, "seed": SEED,
    }  # fmt: skip
    return Access(**settings | changes)


def service(**changes):
    return served(live_of(freeze(Curved()), SPEC, VICTIM), access(**changes))


def expected(x, request):
    """The logarithm of the mean softmax over the noise of a request."""
    source = torch.Generator().manual_seed(SEED + request)
    network = freeze(Curved())
    copies = [network(x + SIGMA * torch.randn(x.shape, generator=source)) for _ in range(SAMPLES)]
    logs = torch.stack([torch.log_softmax(one, dim=1) for one in copies])
    return torch.logsumexp(logs, dim=0) - math.log(SAMPLES)


def test_an_answer_is_the_log_of_the_mean_softmax():
    with service() as one:
        assert torch.allclose(one.model.predict(X), expected(X, 1), atol=1e-6)
        assert torch.allclose(one.model.module(X), expected(X, 2), atol=1e-6)
        assert one.broker.passes == {"forward": 2 * SAMPLES * len(X), "backward": 0}


def test_the_gradient_is_that_of_the_mean():
    x, wanted = X.clone().requires_grad_(), X.clone().requires_grad_()
    with service() as one:
        loss = nn.functional.cross_entropy(one.model.module(x), Y, reduction="sum")
        (found,) = torch.autograd.grad(loss, x)
    loss = nn.functional.cross_entropy(expected(wanted, 1), Y, reduction="sum")
    (exact,) = torch.autograd.grad(loss, wanted)
    assert torch.allclose(found, exact, atol=1e-5)


def test_a_gradient_may_be_asked_for_twice():
    x = X.clone().requires_grad_()
    with service() as one:
        out = one.model.module(x)
        (first,) = torch.autograd.grad(out[:, 0].sum(), x, retain_graph=True)
        (second,) = torch.autograd.grad(out[:, 1].sum(), x)
    assert not torch.allclose(first, second)


def test_a_comparison_gets_the_noise_of_the_rows_that_a_gradient_was_of():
    x, rows = X.clone().requires_grad_(), torch.tensor([3, 1, 3])
    with service() as one:
        out = one.model.module(x)
        torch.autograd.grad(out.sum(), x)
        network = one.broker._network
        placed = network._link.place([X[rows]])
        (again,) = network.forward("forward", placed, again=rows)
        assert torch.allclose(again, out.detach()[rows], atol=1e-6)
        (other,) = network.forward("forward", network._link.place([X[rows]]))
        assert not torch.allclose(other, out.detach()[rows], atol=1e-3)


def test_requests_get_other_noise_unless_it_is_fixed():
    with service() as one:
        assert not torch.allclose(one.model.predict(X), one.model.predict(X))
    with service(fixed=True) as one:
        assert torch.allclose(one.model.predict(X), one.model.predict(X))


def test_what_is_shown_to_the_attack_is_kept_copy_by_copy():
    with service() as one:
        one.model.begin(torch.arange(5))
        one.model.show(X)
        (shown,) = one.broker.shown
    assert shown.shape == (SAMPLES, 5, 4)


def test_each_row_gets_noise_of_its_own():
    same = X[:1].expand(5, -1, -1, -1).contiguous()
    with service() as one:
        assert len(torch.unique(one.model.predict(same), dim=0)) == 5
        one.model.begin(torch.arange(5))
        one.model.show(same)
        assert len(torch.unique(one.broker.shown[0].reshape(-1, 4), dim=0)) == 5 * SAMPLES


@pytest.mark.parametrize("ask", ["features", "training_loss"])
def test_other_answers_are_means_over_noise(ask):
    with service(fixed=True) as one:
        found = one.model.features(X) if ask == "features" else one.model.training_loss(X, Y)
    source, network = torch.Generator().manual_seed(SEED), freeze(Curved())
    copies = [X + SIGMA * torch.randn(X.shape, generator=source) for _ in range(SAMPLES)]
    if ask == "features":
        wanted = torch.stack([network.body(one) for one in copies]).mean(dim=0)
    else:
        losses = [nn.functional.cross_entropy(network(c), Y, reduction="none") for c in copies]
        wanted = torch.stack(losses).mean(dim=0)
    assert torch.allclose(found, wanted, atol=1e-5)
