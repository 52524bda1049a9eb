"""A network behind the border answers as in one process, and neither side can misuse the other."""

import gc
import os
import threading

import pytest
import torch

from harness.runtime.contracts import Budget, ContractError, QueryRefused
from harness.runtime.worker.access import Access
from harness.runtime.worker.broker import MAX_GRAPHS
from harness.runtime.worker.network_process import ASKS
from harness.runtime.worker.network_protocol import HEADER, KINDS, Connection, Message
from harness.runtime.worker.query_ledger import QueryLedger
from tests.support.modules import context, module
from tests.support.network_service import live_of, served
from tests.support.small_network import CALLS, SPEC, VICTIM, batch


@pytest.mark.parametrize("name", CALLS)
def test_outputs_and_gradients_are_equal_to_the_bit(live, name):
    x, y = batch()
    found = []
    with served(live) as service:
        for model in (live, service.model):
            leaf = x.clone().requires_grad_()
            out = CALLS[name](model, leaf, y)
            (gradient,) = torch.autograd.grad(out.square().sum(), leaf)
            with torch.no_grad():
                found.append((out, gradient, CALLS[name](model, x, y)))
    for here, there in zip(*found, strict=True):
        assert torch.equal(here, there)
        assert here.stride() == there.stride()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.5)])
def test_an_attack_finds_the_same(live, tmp_path, norm, eps):
    x, y = batch(20)
    attack, budget = module("attack", "pgd", steps=7), Budget(norm=norm, eps=eps)
    with served(live) as service:
        here, there = (
            attack.perturb(model, x.clone(), y, None, budget, context(tmp_path, SPEC))
            for model in (live, service.model)
        )
    assert torch.equal(here, there)
    assert not torch.equal(here, x)


def test_every_request_that_a_network_answers_is_tested():
    asked = {*CALLS, "forward", "predict", "training_loss_gradient"}
    assert asked - {"module", "loss"} == set(ASKS)


def test_the_gradient_of_the_training_loss_is_that_of_its_sum(live):
    x, y = batch()
    leaf = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(live.training_loss(leaf, y).sum(), leaf)
    with served(live) as service:
        assert torch.equal(service.model.call("training_loss_gradient", x, y)[0], wanted)


def reads_what_is_gone(network, x, y):
    return network.teacher(x).sum(1)


def has_no_gradient(network, x, y):
    with torch.no_grad():
        return network(x).sum(1)


def overflows(network, x, y):
    return network(x).sum(1) * torch.inf * 0


@pytest.mark.parametrize("loss", [reads_what_is_gone, has_no_gradient, overflows])
def test_a_training_loss_that_fails_outside_of_training_has_no_gradient(live, loss):
    x, y = batch()
    broken = live_of(live.module, SPEC, VICTIM, loss)
    with served(broken) as service:
        found = service.model.call("training_loss_gradient", x, y)[0]
        assert torch.equal(found, torch.zeros_like(x))
        assert torch.equal(service.model.predict(x), live.predict(x))  # the network goes on


def test_a_training_loss_may_change_its_batch_in_place(live):
    x, y = batch()

    def brightens(network, x, y):
        return network(x.mul_(2)).square().sum(1)

    with served(live_of(live.module, SPEC, VICTIM, brightens)) as service:
        found = service.model.call("training_loss_gradient", x, y)[0]
    leaf = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(live.module(2 * leaf).square().sum(), leaf)
    assert torch.allclose(found, wanted)


def test_no_rows_have_no_outputs_and_cost_nothing(live):
    x, y = batch()
    with served(live) as service:
        for model in (live, service.model):
            leaf = x[:0].clone().requires_grad_()
            (gradient,) = torch.autograd.grad(model.loss(leaf, y[:0]).sum(), leaf)
            assert gradient.shape == leaf.shape
            assert model.predict(x[:0]).shape == (0, 4)
    assert service.broker.passes == {"forward": 0, "backward": 0}


def test_passes_are_counted_on_the_networks_side(live):
    x, y = batch()
    with served(live) as service:
        service.model.predict(x)
        leaf = x.clone().requires_grad_()
        torch.autograd.grad(service.model.loss(leaf, y).sum(), leaf)
        service.model.training_loss_of(torch.zeros(6, 4), y)
    assert service.broker.passes == {"forward": 12, "backward": 6}


def test_a_forward_pass_can_be_kept_for_two_backward_passes(live):
    x, y = batch()
    with served(live) as service:
        leaf = x.clone().requires_grad_()
        loss = service.model.loss(leaf, y)
        (one,) = torch.autograd.grad(loss[:3].sum(), leaf, retain_graph=True)
        (two,) = torch.autograd.grad(loss[3:].sum(), leaf)
        leaf = x.clone().requires_grad_()
        (both,) = torch.autograd.grad(service.model.loss(leaf, y).sum(), leaf)
        assert not service.broker.graphs
    assert torch.allclose(one + two, both)


def test_a_forward_pass_that_is_dropped_is_forgotten(live):
    x, _ = batch()
    with served(live) as service:
        for _ in range(3 * MAX_GRAPHS):
            service.model.module(x.clone().requires_grad_())
            gc.collect(0)
        assert len(service.broker.graphs) <= 2


def test_the_network_keeps_no_parameters_on_the_attacks_side(live):
    with served(live) as service:
        assert list(service.model.module.parameters()) == []
        assert service.model.module.state_dict() == {}
        with pytest.raises(ContractError, match="another process"):
            service.model.fresh()


def test_neither_side_can_change_what_the_other_holds(live):
    x, _ = batch()
    with served(live) as service:
        first = service.model.predict(x)
        before = first.clone()
        service.model.predict(x.flip(0))
        assert torch.equal(first, before)  # no view of the file into which the next answer goes
        first.zero_()
        assert torch.equal(service.model.predict(x), before)


def test_an_attack_may_have_several_threads(live):
    x, _ = batch()
    wanted, found = live.predict(x), []
    with served(live) as service:

        def ask():
            found.extend(torch.equal(service.model.predict(x), wanted) for _ in range(20))

        threads = [threading.Thread(target=ask, daemon=True) for _ in range(6)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(20)
    assert found == [True] * 120


def test_two_requests_at_once_are_refused(live):
    """As from processes that an attack has forked, which share its connection."""
    with served(live) as service:
        one = HEADER.pack(KINDS.index("left"), 0, 0, 0, 0, 0, 0)
        service.channel.sendall(one * 2)
        assert Connection(service.channel).receive().kind == "error"
    assert "malformed" in service.broker.breach


def test_the_network_is_shown_what_became_of_each_batch(live):
    x, _ = batch()
    with served(live) as service:
        for rows in (torch.arange(4), torch.arange(4, 6)):
            service.model.begin(rows)
            service.model.show(x[rows])
    answers = torch.cat([live.predict(part) for part in (x[:4], x[4:])])
    assert torch.equal(torch.cat(service.broker.shown, dim=1)[0], answers)
    assert [one[:2] for one in service.broker.digests] == [(0, 4), (4, 2)]


def test_goals_come_from_the_network_and_not_from_the_attack(live):
    x, _ = batch()
    access = Access(asks={"predict"}, goal_inputs=x, examples=6)
    with served(live, access) as service:
        model = service.model
        model.begin(torch.arange(3))
        goal = model.goal()
        assert torch.equal(model.goal(), goal)  # drawn once, however often it is asked for
        model.show(x[:3])
        model.begin(torch.arange(3, 6))
        model.show(x[3:])  # drawn also where it is not asked for
    wanted = live.predict(x).argmin(dim=1)
    assert torch.equal(goal, wanted[:3])
    assert torch.equal(torch.cat(service.broker.goals), wanted)


@pytest.mark.parametrize("answers", ["scores", "labels"])
def test_a_query_oracle_answers_and_counts(live, answers):
    x, y = batch()
    ledger = QueryLedger(x, Budget(norm="linf", eps=0.01, queries=2))
    with served(live, Access(ledger=ledger, answers=answers, examples=6)) as service:
        model = service.model
        model.begin(torch.arange(6))
        out = model.predict(x)
        wanted = live.predict(x)
        assert torch.equal(out, wanted.argmax(dim=1) if answers == "labels" else wanted)
        assert model.left().tolist() == [1] * 6
        model.predict(x[:2], torch.tensor([0, 1]))
        with pytest.raises(QueryRefused):
            model.predict(x[1:3], torch.tensor([1, 2]))
        assert model.left().tolist() == [0, 0, 1, 1, 1, 1]
        with pytest.raises(ContractError, match="predict"):
            model.loss(x, y)
        with pytest.raises(ContractError, match="does not grant"):
            model.request(Message("forward"), [x])
    assert ledger.counts.tolist() == [2, 2, 1, 1, 1, 1]
    assert ledger.refused == 2


def test_the_attack_never_gets_a_file_of_the_network(live):
    """Else the network could change an answer after it was checked and counted."""
    files = set()

    def inode(descriptor):
        files.add(os.fstat(descriptor).st_ino)

    x, _ = batch()
    with served(live) as service:
        inbox = service.model._connection._inbox
        inbox.accept = lambda descriptor, own=inbox.accept: (inode(descriptor), own(descriptor))
        leaf = x.clone().requires_grad_()
        service.model.module(leaf).sum().backward()
        service.model.predict(x)
        ours = service.broker.link._connection._inbox
        assert len(files) == 1
        assert ours._map is not None
        assert inbox._map is not None
        ours_views = next(iter(ours._known.values()))[0]
        theirs = next(iter(inbox._known.values()))[0]
        assert files == {mapped_inode(theirs)}
        assert mapped_inode(ours_views) not in files


def mapped_inode(tensor):
    """Return the number of the file in which a tensor lies."""
    with open("/proc/self/maps", encoding="ascii") as lines:
        for line in lines:
            place, _, _, _, number, *_ = line.split()
            first, last = (int(one, 16) for one in place.split("-"))
            if first <= tensor.data_ptr() < last:
                return int(number)
    return 0
