"""A network that fails or answers oddly is named, and learns nothing of its attack."""

import os
import time

import pytest
import torch

from harness.runtime.contracts import ContractError
from harness.runtime.model import freeze
from harness.runtime.worker.network_process import CHANGED
from harness.runtime.worker.network_protocol import Connection, Message
from tests.support.network_service import live_of, served
from tests.support.small_network import SPEC, Small, batch, raw, reply


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
