"""The attack's side of a network in another process; see ``contracts.Model``."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from harness.runtime.contracts import ContractError, QueryRefused, Spec
from harness.runtime.tasks import TASKS
from harness.runtime.worker.network_protocol import Connection, Message

RETRY_SECONDS = 0.002


class NetworkModel:
    """Model whose network answers in another process.

    Gradients come through ``torch.autograd``, of first order: the backward pass of a call is one
    message more. What the attack may ask is decided on the other side.

    Args:
        channel: connection to the service.
        spec: description of the data set.
        device: device of the answers.
        needs: what the attack's manifest asks for.
        queries: whether the network answers queries only, which are counted.
        undefended: network without the defence, in this process, where it is granted.
    """

    def __init__(
        self,
        channel: socket.socket,
        spec: Spec,
        device: torch.device,
        *,
        needs: Iterable[str] = (),
        queries: bool = False,
        undefended: nn.Module | None = None,
    ) -> None:
        self.spec = spec
        self._device, self._needs, self._queries = device, set(needs), queries
        self._undefended, self._module = undefended, RemoteNetwork(self)
        self._connection, self._lock = Connection(channel), threading.RLock()
        self._freed: list[int] = []
        self._batch = 0

    # -- contracts.Model ----------------------------------------------------------------------

    @property
    def module(self) -> nn.Module:
        """Return the network as a module whose forward pass crosses the border."""
        self._require("gradients")
        return self._module

    @property
    def undefended(self) -> nn.Module:
        """Return the network without the defence, with its parameters."""
        self._require("weights")
        assert self._undefended is not None
        return self._undefended

    def predict(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return outputs; if queries are counted, at the cost of one per row.

        Raises:
            QueryRefused: a row has no query left; none was counted.
        """
        if not self._queries:
            with torch.no_grad():
                return self.call("predict", x)[0]
        if not len(x):  # costs nothing, and the other side answers nothing
            return self._no_rows(x)
        stated = torch.arange(self._batch) if rows is None else rows.detach().cpu().long()
        answer, tensors = self.request(Message("query"), [x, stated])
        if answer.kind == "refused":
            raise QueryRefused("a row of this batch has no query left; see model.left()")
        return tensors[0]

    def left(self) -> Tensor | None:
        """Return the queries left per row of the present batch; ``None``: no limit."""
        answer, tensors = self.request(Message("left"))
        return None if answer.kind == "unlimited" else tensors[0]

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the task's loss ``[B]``."""
        self._require("loss")
        outputs = self.call("forward", x)[0]
        return TASKS[self.spec.task].loss(outputs, y, self.spec.void)

    def training_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the training loss ``[B]``, which the network's side computes."""
        self._require("loss")
        return self.call("training_loss", x, y)[0]

    def training_loss_of(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the training loss ``[B]`` of given outputs."""
        self._require("loss")
        return self.call("training_loss_of", outputs, y)[0]

    def features(self, x: Tensor) -> Tensor:
        """Return the input of the head ``[B, D]``."""
        self._require("features")
        return self.call("features", x)[0]

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the outputs of the stages, shallow to deep."""
        self._require("maps")
        return list(self.call("maps", x))

    def fresh(self) -> nn.Module:
        """Refuse: an untrained network is made by code of the other side.

        Raises:
            ContractError: always.
        """
        raise ContractError(
            "model.fresh() does not exist for a defended network, whose code runs in another "
            "process; train a network of your own"
        )

    # -- the worker's side --------------------------------------------------------------------

    def begin(self, rows: Tensor) -> None:
        """Announce the rows of the next batch."""
        self._batch = len(rows)
        self.request(Message("begin", first=int(rows[0]), rows=len(rows)))

    def goal(self) -> Tensor:
        """Return the goals of the batch, which the service draws from the network."""
        return self.request(Message("goal"))[1][0]

    def show(self, x_adv: Tensor) -> None:
        """Show what became of the batch; the service keeps the network's answer."""
        self.request(Message("show"), [x_adv])

    # -- messages -----------------------------------------------------------------------------

    def call(self, ask: str, *tensors: Tensor) -> Sequence[Tensor]:
        """Return what the network answers, differentiable in the first tensor."""
        if not len(tensors[0]) and ask in ("predict", "forward"):
            return [self._no_rows(tensors[0])]
        if torch.is_grad_enabled() and tensors[0].requires_grad:
            found: Sequence[Tensor] = _Call.apply(self, ask, *tensors)
            return found
        return self.request(Message(ask), tensors)[1]

    def request(
        self, message: Message, tensors: Sequence[Tensor] = ()
    ) -> tuple[Message, list[Tensor]]:
        """Send a request; return the answer with its tensors.

        Raises:
            ContractError: the request is not one that the attack may make.
            ConnectionError: the service has ended.
        """
        with self._lock:  # an attack may have several threads
            while self._freed and message.kind != "free":
                self.request(Message("free", graph=self._freed.pop()))
            self._connection.send(message, [one.detach().cpu() for one in tensors])
            answer = self._connection.receive()
            if answer is None:
                raise ConnectionError("the network's process has ended")
            if answer.kind == "error":
                raise ContractError(answer.text)
            return answer, [one.to(self._device) for one in self._connection.take(answer)]

    def _no_rows(self, x: Tensor) -> Tensor:
        """Return the outputs of no input: attacks select the rows that they still work on."""
        shape = TASKS[self.spec.task].shapes(x, self.spec)[0]
        return x.new_zeros(shape) + 0 * x.sum()

    def free(self, graph: int) -> None:
        """Note that a graph is not needed any more; the next request says so."""
        self._freed.append(graph)

    def _require(self, need: str) -> None:
        if self._queries:
            raise ContractError("this threat model grants model.predict() and model.left() only")
        if need not in self._needs:
            part = {"gradients": "module", "weights": "undefended"}.get(need, need)
            raise ContractError(
                f"the attack used model.{part} but its manifest's needs: does not list {need}"
            )


class RemoteNetwork(nn.Module):
    """Network in another process: it has a forward pass with a gradient, but no parameters."""

    def __init__(self, model: NetworkModel) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple, as it is no submodule

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's outputs."""
        return self._model[0].call("forward", x)[0]


class _Graph:
    """Forward pass that the network keeps until this object is gone."""

    def __init__(self, model: NetworkModel, number: int) -> None:
        self.model, self.number, self.kept = model, number, True

    def __del__(self) -> None:
        if self.kept:
            self.model.free(self.number)


class _Call(torch.autograd.Function):
    """Forward pass in another process."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own type has no attributes
        model: NetworkModel,
        ask: str,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        answer, outputs = model.request(Message(ask, keep=True), tensors)
        ctx.graph = _Graph(model, answer.graph)
        ctx.inputs = len(tensors)
        ctx.set_materialize_grads(False)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        graph: _Graph = ctx.graph
        # torch says only here whether the caller passes retain_graph
        graph.kept = torch._C._autograd._get_current_graph_task_keep_graph()
        given = sum(1 << number for number, one in enumerate(gradients) if one is not None)
        message = Message("backward", graph=graph.number, first=given, keep=graph.kept)
        brought = [one for one in gradients if one is not None]
        _, (gradient,) = graph.model.request(message, brought)
        return None, None, gradient, *[None] * (ctx.inputs - 1)


def connect(path: Path, deadline: float) -> socket.socket:
    """Return a connection to a service that is perhaps still starting.

    Args:
        path: Unix socket of the service.
        deadline: time on the monotonic clock at which to give up.

    Raises:
        ConnectionError: it does not listen by the deadline.
    """
    channel = socket.socket(socket.AF_UNIX)
    while True:
        try:
            channel.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if time.monotonic() > deadline:
                raise ConnectionError("the network's process did not start") from error
            time.sleep(RETRY_SECONDS)
        else:
            return channel
