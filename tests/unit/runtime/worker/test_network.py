"""A network behind the border answers as in one process, and neither side can misuse the other."""

import ctypes
import fcntl
import gc
import os
import socket
import struct
import threading
import time
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.runtime.contracts import Budget, ContractError, QueryRefused, Spec
from harness.runtime.model import freeze
from harness.runtime.worker.access import Access
from harness.runtime.worker.broker import MAX_GRAPHS
from harness.runtime.worker.network_process import ASKS, CHANGED
from harness.runtime.worker.network_protocol import HEADER, KINDS, Connection, Message
from harness.runtime.worker.query_ledger import QueryLedger
from harness.runtime.worker.tensor_files import HEAD, SEALS, make_file
from tests.support.modules import context, module
from tests.support.network_service import live_of, served

SPEC = Spec("classification", 4, (2, 4, 4))

MFD_ALLOW_SEALING, MFD_HUGETLB = 2, 4


class Small(nn.Module):
    """A network with a head and a stage."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(48, 4)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


VICTIM = SimpleNamespace(head="head", stages=("body",))


def smoothed(network, x, y):
    return F.cross_entropy(network(x), y, reduction="none", label_smoothing=0.1)


@pytest.fixture
def live():
    network = freeze(Small())
    return live_of(network, SPEC, VICTIM, smoothed)


def batch(rows=6):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(rows, 2, 4, 4, generator=generator), torch.arange(rows) % 4


CALLS = {
    "module": lambda m, x, y: m.module(x),
    "loss": lambda m, x, y: m.loss(x, y),
    "training_loss": lambda m, x, y: m.training_loss(x, y),
    "features": lambda m, x, y: m.features(x),
    "maps": lambda m, x, y: m.maps(x)[0],
    "training_loss_of": lambda m, x, y: m.training_loss_of(x.flatten(1)[:, :4], y),
}


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
    assert {*CALLS, "forward", "predict"} - {"module", "loss"} == set(ASKS)


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


# -- what the attack must not do --------------------------------------------------------------


def kept(model, x, number):
    return [model.module(x.clone().requires_grad_()) for _ in range(number)]


def twice(model, x):
    leaf = x.clone().requires_grad_()
    out = model.module(leaf)
    out.sum().backward()
    model.request(Message("backward", graph=1, first=1), [torch.ones_like(out)])


BREACHES = {
    "other shape": (lambda m, x: m.predict(x[:, :, :2]), "expected inputs"),
    "other type": (lambda m, x: m.predict(x.double()), "float64"),
    "integers": (lambda m, x: m.predict(x.long()), "float32"),
    "too large": (lambda m, x: m.predict(x[:1].expand(1 << 25, 2, 4, 4)), "at most"),
    "open graphs": (lambda m, x: kept(m, x, MAX_GRAPHS + 1), "keeps more than"),
    "second backward": (lambda m, x: twice(m, x), "retain_graph"),
    "no such graph": (
        lambda m, x: m.request(Message("backward", graph=9, first=1), [x]), "retain_graph"
    ),
    "goal": (lambda m, x: m.goal(), "goals"),
    "query": (lambda m, x: m.request(Message("query"), [x, torch.arange(6)]), "not counted"),
    "other rows": (lambda m, x: m.request(Message("begin", first=3, rows=4)), "expected 0"),
    "fewer rows": (lambda m, x: (m.begin(torch.arange(4)), m.show(x)), "4 rows ends with 6"),
    "answers": (lambda m, x: m.request(Message("answer")), "no model answers"),
    "no tensor": (lambda m, x: m.request(Message("forward")), "0 tensors"),
    "two tensors": (lambda m, x: m.request(Message("forward"), [x, x]), "2 tensors"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREACHES)
def test_an_attack_that_breaks_the_protocol_is_told_and_noted(live, name):
    call, words = BREACHES[name]
    x, _ = batch()
    with served(live) as service:
        with pytest.raises(ContractError, match=words):
            call(service.model, x)
        assert torch.equal(service.model.predict(x), live.predict(x))  # the next request is served
    if name not in ("too large", "other type"):  # which do not leave the attack's process
        assert words in service.broker.breach
    assert service.failure is None


def test_gradients_of_another_shape_do_not_reach_the_network(live):
    x, _ = batch()
    with served(live) as service:
        out = service.model.module(x.clone().requires_grad_())
        for wrong in (torch.ones(6, 5), torch.ones(6, 4).long(), torch.ones(5, 4)):
            with pytest.raises(ContractError, match="do not fit"):
                service.model.request(Message("backward", graph=1, first=1), [wrong])
        del out


def test_needs_decide_what_is_answered_whatever_the_attack_says(live):
    x, y = batch()
    with served(live, Access(asks={"predict", "features"})) as service:
        service.model.features(x)
        for name in ("loss", "maps", "training_loss"):
            with pytest.raises(ContractError, match="does not grant"):
                CALLS[name](service.model, x, y)


FRAMES = {
    "an unknown kind": HEADER.pack(len(KINDS), 0, 0, 0, 0, 0, 0),
    "unknown flags": HEADER.pack(KINDS.index("left"), 64, 0, 0, 0, 0, 0),
    "noise": b"\xff" * 200_000,
    "a description that ends": HEADER.pack(KINDS.index("predict"), 0, 3, 0, 0, 0, 0) + b"\0\0\4",
    "an unknown type": HEADER.pack(KINDS.index("predict"), 0, HEAD.size, 0, 0, 0, 0)
    + HEAD.pack(9, 0, 0, 0),
    "ten gigabytes": HEADER.pack(KINDS.index("predict"), 0, HEAD.size + 16, 0, 0, 0, 0)
    + HEAD.pack(0, 0, 2, 0) + struct.pack("<2Q", 10 << 30, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_a_malformed_message_is_refused(live, name):
    with served(live) as service:
        service.channel.sendall(FRAMES[name])
        assert Connection(service.channel).receive().kind in ("error", None)
    assert service.broker.breach
    assert service.failure is None


def send_file(channel, descriptor):
    """Send a request that brings a memory file."""
    header = HEADER.pack(KINDS.index("left"), 0, 0, 0, 0, 0, 0)
    socket.send_fds(channel, [header], [descriptor])


def test_a_file_that_can_shrink_is_not_mapped(live):
    descriptor = os.memfd_create("open", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, 1 << 16)
    with served(live) as service:
        send_file(service.channel, descriptor)
        assert "sealed" in Connection(service.channel).receive().text
    os.close(descriptor)


def test_descriptors_do_not_pile_up(live):
    mapped, descriptor = make_file(1 << 16)
    with served(live) as service:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            send_file(service.channel, descriptor)
            Connection(service.channel).receive()
        assert len(os.listdir("/proc/self/fd")) <= before + 2
    os.close(descriptor)
    mapped.close()


def test_an_attack_that_goes_away_in_the_middle_is_no_failure(live):
    with served(live) as service:
        service.channel.sendall(HEADER.pack(KINDS.index("left"), 0, 9, 0, 0, 0, 0))
        service.channel.shutdown(socket.SHUT_RDWR)
    assert service.failure is None
    assert service.broker.breach == ""


# -- what the network must not do -------------------------------------------------------------


class Odd(Small):
    """A network that answers in another way."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(super().forward, x)


def rounded_in_place(f, x):
    return f(x.mul_(255).round_().div_(255))


def buffered(buffer):
    def answer(f, x):
        buffer[: len(x)] = f(x)
        return buffer[: len(x)]

    return answer


def test_a_network_that_answers_in_one_buffer_answers_right():
    network = freeze(Odd(buffered(torch.zeros(9, 4))))
    x, _ = batch()
    live = live_of(network, SPEC)
    with served(live) as service:
        first, second = service.model.predict(x), service.model.predict(x.flip(0))
    assert torch.equal(first, second.flip(0))


def raw(answer):
    """A network's process that ends every request in its own way."""

    def serve(end):
        connection = Connection(end)
        while (request := connection.receive()) is not None:
            answer(connection, request)

    return serve


def reply(*tensors):
    return raw(lambda connection, _: connection.send(Message("answer"), tensors))


def dies(connection, request):
    os._exit(3)


def noise(connection, request):
    connection._channel.sendall(b"\xff" * 200_000)


FAILURES = {
    "more rows": (reply(torch.zeros(9, 4)), "contract_violation", "[9, 4]"),
    "other shape": (reply(torch.zeros(6, 5)), "contract_violation", "[6, 5]"),
    "other type": (reply(torch.zeros(6, 4).long()), "contract_violation", "int64"),
    "nothing": (reply(), "contract_violation", "nothing"),
    "several": (reply(torch.zeros(6, 4), torch.zeros(6, 4)), "contract_violation", "[6, 4], "),
    "dies": (raw(dies), "module_error", "ended"),
    "noise": (raw(noise), "contract_violation", "malformed"),
    "raises": (
        raw(lambda c, _: c.send(Message("failed", text="module_error\ndefense\nbroken"))),
        "module_error",
        "broken",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_a_network_that_fails_ends_the_service_and_is_named(live, name):
    serve, status, words = FAILURES[name]
    x, _ = batch()
    with served(live, serve=serve) as service, pytest.raises((ConnectionError, ContractError)):
        service.model.predict(x)
    assert service.failure.status == status
    assert words in service.failure.reason
    assert service.broker.breach == ""


@pytest.mark.parametrize(
    "gradient", [torch.zeros(6, 2, 4, 5), torch.zeros(5, 2, 4, 4), torch.zeros(6, 2, 4, 4).long()]
)
def test_a_gradient_of_another_size_or_type_is_the_networks_fault(live, gradient):
    def answer(connection, request):
        out = gradient if request.kind == "backward" else torch.zeros(6, 4)
        connection.send(Message("answer"), [out])

    x, y = batch()
    with served(live, serve=raw(answer)) as service:
        leaf = x.requires_grad_()
        loss = service.model.loss(leaf, y).sum()
        with pytest.raises(ConnectionError):
            torch.autograd.grad(loss, leaf)
    assert service.failure.status == "contract_violation"


def test_a_hanging_network_is_seen_as_such(live):
    with served(live, serve=raw(lambda *_: (time.sleep(0.5), os._exit(3)))) as service:
        connection = Connection(service.channel)
        connection.send(Message("predict"), [batch()[0]])
        time.sleep(0.1)
        assert service.broker.link.asked_at is not None
        connection.receive()


ODD = {
    "in place": (Odd(rounded_in_place), CHANGED),
    "half": (Odd(lambda f, x: f(x).half()), "float16"),
    "double": (Odd(lambda f, x: f(x).double()), "float64"),
    "squeezed": (Odd(lambda f, x: f(x).squeeze(0)), "shape"),
    "no tensor": (Odd(lambda f, x: [1.0]), "expected a Tensor"),
}


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("name", ODD)
def test_an_odd_network_is_named_by_its_own_process(name, gradient, capfd):
    network, words = ODD[name]
    live = live_of(freeze(network), SPEC)
    x, _ = batch(1)
    x = x.requires_grad_(gradient)
    with served(live) as service, pytest.raises(ConnectionError):
        service.model.module(x)
    assert words in capfd.readouterr().err  # ``stages.network`` turns it into the service's end


def test_values_that_are_not_finite_arrive_and_are_counted():
    def answer(f, x):
        out = f(x)
        return torch.cat([out[:2], out[2:] * float("nan")])

    live = live_of(freeze(Odd(answer)), SPEC)
    x, y = batch()
    with served(live) as service:
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(service.model.loss(leaf, y).sum(), leaf)
    assert gradient[2:].isnan().all()
    counts = service.broker.link.counts
    assert (counts["nonfinite_outputs"], counts["nonfinite_gradients"]) == (4, 4)


def test_gradients_that_vanish_in_the_network_are_counted():
    live = live_of(freeze(Odd(lambda f, x: f(x) * 0 + 1)), SPEC)
    x, y = batch()
    with served(live) as service:
        leaf = x.clone().requires_grad_()
        torch.autograd.grad(service.model.loss(leaf, y)[:4].sum(), leaf)
    assert service.broker.link.counts["zero_gradients"] == 4  # of two rows, none was asked for


# -- what the harness keeps -------------------------------------------------------------------


def test_the_network_is_shown_what_became_of_each_batch(live):
    x, _ = batch()
    with served(live) as service:
        for rows in (torch.arange(4), torch.arange(4, 6)):
            service.model.begin(rows)
            service.model.show(x[rows])
    assert torch.equal(torch.cat(service.broker.shown, dim=1)[0], live.predict(x))
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


# -- requests on which an honest network would fail: they are the attack's fault --------------


def describe(shape, offset=0, dtype=0):
    return HEAD.pack(dtype, 0, len(shape), offset) + struct.pack(f"<{len(shape)}Q", *shape)


FRAMING = {
    "labels that do not exist": lambda m, x, y: m.training_loss(x, y + 4),
    "negative labels": lambda m, x, y: m.training_loss(x, y - 100),
    "labels of another type": lambda m, x, y: m.training_loss(x, y.float()),
    "labels without rows": lambda m, x, y: m.training_loss(x, torch.tensor(3)),
    "fewer labels": lambda m, x, y: m.training_loss(x, y[:3]),
    "labels for outputs": lambda m, x, y: m.training_loss_of(torch.zeros(6, 4), y + 4),
    "outputs of another shape": lambda m, x, y: m.training_loss_of(torch.zeros(6, 7, 8), y),
    "no rows": lambda m, x, y: m.request(Message("predict"), [x[:0]]),
    "many rows": lambda m, x, y: m.predict(x[:1].expand(5000, -1, -1, -1)),
    "not a number": lambda m, x, y: m.predict(x * float("nan")),
    "infinite": lambda m, x, y: m.module((x / 0).requires_grad_()),
    "a batch of no end": lambda m, x, y: m.request(Message("begin", rows=2**32 - 1)),
    "a batch beyond the data": lambda m, x, y: m.request(Message("begin", rows=7)),
}


@pytest.mark.parametrize("name", FRAMING)
def test_a_request_on_which_a_network_would_fail_does_not_reach_it(live, name):
    x, y = batch()
    with served(live, Access(asks=set(ASKS), examples=6)) as service:
        with pytest.raises(ContractError):
            FRAMING[name](service.model, x, y)
        assert torch.equal(service.model.predict(x), live.predict(x))
    assert service.broker.breach
    assert service.failure is None


LAYOUTS = {
    "empty and huge": describe((0, 2**64 - 1)),
    "empty, and its strides overflow": describe((0, 2**62, 2**62)),
    "beyond any file": describe((6, 2, 4, 4), 2**64 - 64),
    "between two numbers": describe((6, 2, 4, 4), 3),
    "five thousand tensors": describe(()) * 5000,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_crafted_layout_is_refused(live, name):
    block = LAYOUTS[name]
    with served(live) as service:
        head = HEADER.pack(KINDS.index("predict"), 0, len(block), 0, 0, 0, 0)
        service.channel.sendall(head + block)
        assert Connection(service.channel).receive().kind == "error"
    assert service.broker.breach
    assert service.failure is None


def test_a_file_of_huge_pages_is_not_mapped(live):
    """Reading a hole in one would end the process where no huge page is free."""
    descriptor = ctypes.CDLL(None).memfd_create(b"huge", MFD_ALLOW_SEALING | MFD_HUGETLB)
    assert descriptor >= 0
    os.ftruncate(descriptor, 2 << 20)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    with served(live) as service:
        send_file(service.channel, descriptor)
        assert "sealed" in Connection(service.channel).receive().text
    os.close(descriptor)


def test_memory_that_an_attack_has_a_network_hold_is_counted_in_batches(live):
    x, _ = batch()
    with served(live, Access(asks=set(ASKS), batch=4)) as service:
        held = kept(service.model, x, 3)
        assert service.broker.load == 5  # 18 rows
        service.model.predict(x)
        assert service.broker.load == 5
        del held


# -- what the network could see ---------------------------------------------------------------


def recorded(log):
    """A network's process that answers zeros, and notes the requests."""

    def answer(connection, request):
        rows = [] if request.kind == "free" else connection.take(request)
        os.write(log, f"{request.kind} {request.keep} {request.graph > 0}\n".encode())
        connection.send(Message("answer"), [torch.zeros(len(one), 4) for one in rows])

    return raw(answer)


@pytest.mark.parametrize("gradient", [False, True])
def test_the_network_cannot_tell_what_it_is_shown_from_what_the_attack_asks(live, gradient):
    x, _ = batch()
    read_end, log = os.pipe()
    with served(live, serve=recorded(log)) as service:
        service.model.begin(torch.arange(6))
        if gradient:
            service.model.module(x.clone().requires_grad_())
        else:
            service.model.predict(x)
        service.model.show(x)
    lines = [one for one in os.read(read_end, 1000).decode().splitlines() if "free" not in one]
    assert len(lines) == 2
    assert lines[0] == lines[1]
    os.close(read_end)
    os.close(log)


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


@pytest.mark.parametrize("kind", ["features", "maps"])
@pytest.mark.parametrize("shapes", [[(6, 3), (6, 4)], [(6, 3), (5, 3)], [(6, 3), ()]])
def test_features_of_another_form_are_the_networks_fault(live, kind, shapes):
    left = list(shapes)
    x, _ = batch()
    serve = raw(lambda c, _: c.send(Message("answer"), [torch.zeros(left.pop(0))]))
    with served(live, serve=serve) as service:
        getattr(service.model, kind)(x)
        with pytest.raises(ConnectionError):
            getattr(service.model, kind)(x)
    assert service.failure.status == "contract_violation"
    assert service.broker.breach == ""
