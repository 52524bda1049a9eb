"""A random network behind the border: the mean over draws, from requests that are all alike."""

import gc
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from harness.runtime.contracts import Budget, ContractError, Spec
from harness.runtime.model import freeze
from harness.runtime.worker.access import Access
from harness.runtime.worker.network_draws import NetworkDraws
from harness.runtime.worker.network_process import ASKS
from harness.runtime.worker.network_protocol import Message
from harness.runtime.worker.query_ledger import QueryLedger
from tests.support.network_service import live_of, served

SPEC = Spec("classification", 4, (1, 2, 2))
SAMPLES = 4


class Counting(nn.Module):
    """A network whose answers are 1, 2, … times the first one, as if it drew."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.calls = nn.Flatten(), nn.Linear(4, 4, bias=False), 0

    def forward(self, x):
        self.calls += 1
        return self.head(self.body(x) * self.calls)


VICTIM = SimpleNamespace(head="head", stages=("body",))


def counting():
    return live_of(freeze(Counting()), SPEC, VICTIM)


def access(**changes):
    settings = {"asks": set(ASKS), "examples": 6, "samples": SAMPLES, "kept": SAMPLES}
    return Access(**settings | changes)


def first_answer(x):
    return freeze(Counting())(x)


X = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(1))
MEAN = (1 + 2 + 3 + 4) / 4


@pytest.mark.parametrize(
    "ask",
    [
        lambda model: model.predict(X),
        lambda model: model.module(X),
        lambda model: nn.functional.linear(model.features(X), freeze(Counting()).head.weight),
        lambda model: nn.functional.linear(model.maps(X)[0], freeze(Counting()).head.weight) * MEAN,
    ],
)
def test_an_answer_is_the_mean_over_draws(ask):
    with served(counting(), access()) as service:
        assert torch.allclose(ask(service.model), MEAN * first_answer(X), atol=1e-6)
        assert service.broker.passes == {"forward": SAMPLES * len(X), "backward": 0}


def test_a_gradient_is_that_of_the_mean():
    x, y = X.clone().requires_grad_(), torch.arange(6) % 4
    with served(counting(), access()) as service:
        losses = service.model.training_loss(x, y)
        (found,) = torch.autograd.grad(losses.sum(), x)
        assert service.broker.passes == {"forward": SAMPLES * 6, "backward": SAMPLES * 6}
    draws = [
        nn.functional.cross_entropy(n * first_answer(x), y, reduction="none") for n in (1, 2, 3, 4)
    ]
    mean = torch.stack(draws).mean(dim=0)
    (wanted,) = torch.autograd.grad(mean.sum(), x)
    assert torch.allclose(losses, mean, atol=1e-6)
    assert torch.allclose(found, wanted, atol=1e-6)


def test_a_gradient_can_be_asked_for_twice_and_tiny_ones_are_kept():
    x = X.clone().requires_grad_()
    with served(counting(), access()) as service:
        out = service.model.module(x)
        tiny = torch.full_like(out, 1e-38)
        first, second = (
            torch.autograd.grad(out, x, tiny, retain_graph=again)[0] for again in (True, False)
        )
        assert torch.equal(first, second)
        (wanted,) = torch.autograd.grad(MEAN * first_answer(x), x, torch.ones_like(out))
        assert torch.allclose(first / 1e-38, wanted, rtol=1e-3, atol=1e-3)


def test_held_passes_count_as_often_as_they_were_run():
    with served(counting(), access(samples=32, batch=6)) as service:
        held = [service.model.module(X.clone().requires_grad_()) for _ in range(2)]
        assert service.broker.load == 2 * 32
        with pytest.raises(ContractError, match="keeps more than 2 forward passes"):
            service.model.module(X.clone().requires_grad_())
        del held
        gc.collect()
        assert service.model.module(X.clone().requires_grad_()).shape == (6, 4)


def test_single_answers_to_the_attacked_inputs_are_kept():
    with served(counting(), access()) as service:
        for rows in (torch.arange(4), torch.arange(4, 6)):
            service.model.begin(rows)
            service.model.show(X[rows])
    shown = torch.cat([one / one[:1] for one in service.broker.shown], dim=1)
    assert torch.allclose(shown[:, :4, 0], torch.tensor([1.0, 2, 3, 4])[:, None].expand(4, 4))
    assert [tuple(one.shape) for one in service.broker.shown] == [(4, 4, 4), (4, 2, 4)]


def test_a_query_is_one_draw_and_what_is_kept_are_several():
    ledger = QueryLedger(X, Budget(norm="linf", eps=0.1, queries=3))
    with served(counting(), access(ledger=ledger, samples=1, kept=3)) as service:
        service.model.begin(torch.arange(6))
        for n in (1, 2):
            assert torch.allclose(service.model.predict(X), n * first_answer(X), atol=1e-6)
        service.model.show(X)
        assert service.broker.passes["forward"] == 2 * 6
    (shown,) = service.broker.shown
    wanted = torch.stack([n * first_answer(X) for n in (3, 4, 5)])
    assert torch.allclose(shown, wanted, atol=1e-5)


def test_goals_are_drawn_from_the_mean():
    drawn = access(asks={"predict"}, goal_inputs=X)
    with served(counting(), drawn) as service:
        service.model.begin(torch.arange(6))
        goal = service.model.goal()
    assert torch.equal(goal, first_answer(X).argmin(dim=1))


class Recorder:
    """A link that notes what the network's process would see."""

    def __init__(self):
        self.seen, self.counts = [], {}

    def place(self, tensors):
        return list(tensors)

    def forward(self, kind, tensors, *, graph=0):
        self.seen.append((kind, graph > 0, tensors[0].sum().item()))
        return [torch.zeros(len(tensors[0]), 4)]

    def answer(self, kind, x, *, graph=0):
        return self.forward(kind, [x], graph=graph)[0]

    def free(self, graph):
        self.seen.append(("free", True, graph % SAMPLES))

    def backward(self, request, shape):
        self.seen.append(("backward", request.keep, request.graph % SAMPLES))
        return torch.ones(shape)


@pytest.mark.parametrize(("kind", "graph"), [("predict", 0), ("forward", 7)])
def test_the_network_sees_no_difference_between_our_requests_and_an_attack_s(kind, graph):
    links = [Recorder(), Recorder()]
    attack, ours = (NetworkDraws(link, SAMPLES) for link in links)
    attack.forward(kind, [X], graph=graph)
    ours.answers(kind, X, graph=graph)
    if graph:
        attack.free(graph)
        ours.free(graph)
    assert links[0].seen == links[1].seen
    assert len(links[0].seen) == SAMPLES * (2 if graph else 1)


def test_one_draw_changes_nothing():
    link = Recorder()
    draws = NetworkDraws(link, 1)
    draws.forward("forward", [X], graph=5)
    draws.backward(Message("backward", graph=5), [X], X.shape)
    draws.free(5)
    assert [one[0] for one in link.seen] == ["forward", "backward", "free"]


def test_what_is_not_finite_in_one_draw_is_not_finite_in_the_mean():
    class Odd(Counting):
        def forward(self, x):
            out = super().forward(x)
            return out * (torch.nan if self.calls == 2 else 1)

    with served(live_of(freeze(Odd()), SPEC, VICTIM), access()) as service:
        assert service.model.predict(X).isnan().all()
        assert service.broker.link.counts["nonfinite_outputs"] == 6
