"""Process of a network: it runs the code of victim and defence, and answers the broker alone.

Its end of the socket pair is all that it shares with the broker. What arrives is copied, so that a
network may do with its input what it likes; what it returns is checked and copied out.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, cast

import torch
from torch import Tensor
from torch.autograd.graph import _engine_run_backward

from harness.runtime.contracts import ContractError, OutputError, Spec
from harness.runtime.model import NEEDS, LiveModel
from harness.runtime.tasks import check_answer
from harness.runtime.worker.failures import classify, responsible_role
from harness.runtime.worker.job import Job
from harness.runtime.worker.network_answers import GuardedNetwork
from harness.runtime.worker.network_protocol import Connection, Message

CHANNEL = 3
"""Descriptor of the socket to the broker."""
PR_SET_PDEATHSIG = 1
CHANGED = "the network changed its inputs in place; work on a copy (x.clone())"


@dataclass(frozen=True)
class Ask:
    """Row of the table of requests.

    Attributes:
        call: what it calls, with the model and the tensors that arrived.
        tensors: number of tensors that it takes.
        differentiable: how many of them, from the first, have a gradient.
    """

    call: Callable[..., object]
    tensors: int = 1
    differentiable: int = 1


def training_loss_gradient(model: LiveModel, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the training loss in inputs, for the harness's own probe.

    A loss may work in training alone: what fails here breaks no promise, and the answer is zeros.
    """
    try:
        with torch.enable_grad():
            at = x.detach().clone().requires_grad_()
            # a copy, as a loss may change a batch of training data in place
            (gradient,) = torch.autograd.grad(model.training_loss(at.clone(), y).sum(), at)
    except Exception:  # noqa: BLE001 - a module's code may raise anything
        return torch.zeros_like(x)
    return torch.nan_to_num(gradient, 0.0, 0.0, 0.0)


ASKS: Mapping[str, Ask] = {
    "predict": Ask(lambda model, x: model.module(x)),
    "forward": Ask(lambda model, x: model.module(x)),
    "features": Ask(lambda model, x: model.features(x)),
    "maps": Ask(lambda model, x: model.maps(x)),
    "training_loss": Ask(lambda model, x, y: model.training_loss(x, y), 2),
    "training_loss_of": Ask(lambda model, out, y: model.training_loss_of(out, y), 2),
    "training_loss_gradient": Ask(training_loss_gradient, 2),
}
"""THE table of requests that a network answers, beside ``backward``."""
ANSWERS = ("predict", "forward")
"""Requests for the network's own outputs."""
LOSSES = ("training_loss", "training_loss_of")
"""Requests for one number a row."""


class Graph(NamedTuple):
    """Forward pass that waits for its backward pass.

    Attributes:
        inputs: the inputs that have a gradient.
        outputs: what the network returned.
    """

    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]


class NetworkProcess:
    """Answers requests about a defended network.

    Args:
        model: the network, with everything that an attack may need.
        connection: connection to the broker.
        device: device of the network.

    Attributes:
        inputs: the network's inputs in the present request, or ``None``.
    """

    def __init__(self, model: LiveModel, connection: Connection, device: torch.device) -> None:
        self._model, self._connection, self._device = model, connection, device
        model.stop_counting()  # the broker counts
        self._graphs: dict[int, Graph] = {}
        self.inputs: Tensor | None = None

    def serve(self) -> None:
        """Answer until the broker closes the connection."""
        while (request := self._connection.receive()) is not None:
            self.inputs = None
            if request.kind == "free":
                self._graphs.pop(request.graph, None)
                answer: Sequence[Tensor] = []
            elif request.kind == "backward":
                answer = self._backward(request)
            else:
                answer = self._forward(request)
            self._connection.send(Message("answer"), answer)

    def _forward(self, request: Message) -> Sequence[Tensor]:
        ask, tensors = ASKS[request.kind], self._take(request)
        inputs = tensors[: ask.differentiable]
        self.inputs = tensors[0] if request.kind != "training_loss_of" else None
        versions = [one._version for one in inputs]
        if request.keep:
            for one in inputs:
                one.requires_grad_()
        try:
            with torch.set_grad_enabled(request.keep):
                found = ask.call(self._model, *tensors)
        except RuntimeError as error:
            if "in-place operation" in str(error):  # torch refuses it on a leaf of the graph
                raise ContractError(CHANGED) from error
            raise
        if [one._version for one in inputs] != versions:
            raise ContractError(CHANGED)
        # anything but a list of maps is one output, also where it should have been a tensor
        outputs = (
            list(cast(list[Tensor], found)) if request.kind == "maps" else [cast(Tensor, found)]
        )
        check_outputs(request.kind, outputs, tensors, self._model.spec)
        if request.graph:
            self._graphs[request.graph] = Graph(inputs, outputs)
        return outputs

    def _backward(self, request: Message) -> Sequence[Tensor]:
        graph = self._graphs[request.graph]
        if not request.keep:
            del self._graphs[request.graph]
        outputs = tuple(one for n, one in enumerate(graph.outputs) if request.first >> n & 1)
        if not all(one.requires_grad for one in outputs):
            raise ContractError(
                "the network's answer has no gradient; declare gradients: approximate and use "
                "gradients.straight_through"
            )
        # what torch.autograd.grad calls in the end; it would import sympy first, for a third of a
        # second, as soon as it is given gradients of outputs
        found: Sequence[Tensor | None] = _engine_run_backward(
            outputs,
            tuple(self._take(request)),
            request.keep,
            False,  # create_graph
            tuple(graph.inputs),
            allow_unreachable=True,
            accumulate_grad=False,
        )
        return [
            torch.zeros_like(x) if one is None else one
            for one, x in zip(found, graph.inputs, strict=True)
        ]

    def _take(self, request: Message) -> list[Tensor]:
        return [one.to(self._device) for one in self._connection.take(request)]


def check_outputs(
    ask: str, outputs: Sequence[Tensor], tensors: Sequence[Tensor], spec: Spec
) -> None:
    """Check the form of what a network returned.

    Args:
        ask: the request.
        outputs: what it returned.
        tensors: what it was given.
        spec: description of the data set.

    Raises:
        OutputError: a value is no tensor, or has another type or shape.
    """
    if ask in ANSWERS:
        check_answer(outputs[0], tensors[0], spec)
        return
    rows = len(tensors[-1]) if ask == "training_loss_of" else len(tensors[0])
    for out in outputs:
        wanted = (rows,) if ask in LOSSES else (rows, *out.shape[1:])
        if out.dtype != torch.float32 or tuple(out.shape) != wanted:
            found = str(out.dtype).removeprefix("torch.")
            raise OutputError(
                f"{ask}: expected float32 {list(wanted)}, got {found} {list(out.shape)}"
            )


def run_network(job: Job, channel: socket.socket) -> NoReturn:
    """Serve in a child that was just forked, and end the process.

    Args:
        job: job of the service.
        channel: this process's end of the socket pair.
    """
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.dup2(channel.fileno(), CHANNEL)
        os.closerange(CHANNEL + 1, 256)  # above all, the socket that the attack connects to
        connection = Connection(socket.socket(fileno=CHANNEL))
        try:
            network = job.trained()
            guarded = GuardedNetwork(job, network, job.trained)
            process = NetworkProcess(
                job.live(network, guarded.module, NEEDS), connection, job.device
            )
            torch.manual_seed(job.ctx.seed("network"))
            job.called = job.answering_role
            try:
                process.serve()
            except ContractError as error:
                if process.inputs is None:
                    raise
                raise guarded.name_side(error, process.inputs.detach()) from error
            code = 0
        except BaseException as error:  # noqa: BLE001 - it becomes the end of the service
            traceback.print_exc()
            status, reason = classify(error)
            by = responsible_role(error, job)
            connection.send(Message("failed", text=f"{status}\n{by or ''}\n{reason}"))
    finally:
        os._exit(code)
