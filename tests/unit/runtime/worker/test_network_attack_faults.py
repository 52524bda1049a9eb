"""An attack that breaks the protocol is told, noted, and no fault of its network."""

import ctypes
import fcntl
import os
import socket
import struct

import pytest
import torch

from harness.runtime.contracts import ContractError
from harness.runtime.worker.access import Access
from harness.runtime.worker.broker import MAX_GRAPHS
from harness.runtime.worker.network_process import ASKS
from harness.runtime.worker.network_protocol import HEADER, KINDS, Connection, Message
from harness.runtime.worker.tensor_files import HEAD, SEALS, make_file
from tests.support.network_service import served
from tests.support.small_network import CALLS, batch

MFD_ALLOW_SEALING, MFD_HUGETLB = 2, 4


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
