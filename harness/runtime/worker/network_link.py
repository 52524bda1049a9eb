"""The broker's side of the connection to a network's process: asks, waits, checks answers."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from harness.runtime.contracts import ContractError, Spec
from harness.runtime.tasks import TASKS
from harness.runtime.worker.failures import NetworkFailed
from harness.runtime.worker.network_process import ANSWERS
from harness.runtime.worker.network_protocol import Connection, Message

Shape = tuple[int, ...]

OWN_ENDS = ("contract_violation", "not_applicable", "out_of_memory", "module_error")
"""Statuses that a network's process may give for itself."""


class NetworkLink:
    """Connection to a network's process, which may send anything.

    Args:
        connection: connection that relays memory files.
        spec: description of the data set.

    Attributes:
        asked_at: time at which the network was asked for what it has not answered yet, or ``None``.
        seconds: time in which it has answered.
        counts: rows of its outputs and of its gradients with a value that is not finite, and rows
            whose gradient is zero although that of the outputs is not.
    """

    def __init__(self, connection: Connection, spec: Spec) -> None:
        self._connection, self._spec = connection, spec
        self.asked_at: float | None = None
        self.seconds = 0.0
        self._allowed: dict[Shape, Collection[Shape]] = {}
        self.counts = {"nonfinite_outputs": 0, "nonfinite_gradients": 0, "zero_gradients": 0}

    def forward(self, x: Tensor, *, gradient: bool = False) -> Tensor:
        """Return the network's outputs to inputs that nobody else can change meanwhile.

        Args:
            x: float32 ``[B, …]``.
            gradient: whether it computes them as if a backward pass followed.

        Raises:
            NetworkFailed: the network failed, or its answer has another form.
        """
        answer = self._ask(Message("forward", keep=gradient, from_broker=True), [x])
        (out,) = self._checked(answer, self._output_shapes("forward", [tuple(x.shape)]))
        return out.clone()

    def relayed_forward(
        self, request: Message, shapes: Sequence[Shape]
    ) -> tuple[Message, list[Shape]]:
        """Ask with an attack's tensors; return the answer, to be passed on, and its shapes.

        Args:
            request: request of an attack.
            shapes: shapes of its tensors.

        Raises:
            NetworkFailed: the network failed, or its answer has another form.
        """
        answer = self._ask(request)
        outputs = self._checked(answer, self._output_shapes(request.kind, shapes))
        for out in outputs:
            self.counts["nonfinite_outputs"] += bad_rows(out)
        return self._passed_on(answer), [tuple(out.shape) for out in outputs]

    def relayed_backward(self, request: Message, shape: Shape, given: Sequence[Tensor]) -> Message:
        """Ask for the gradient in an attack's input; return the answer, to be passed on.

        Args:
            request: request of an attack.
            shape: shape of the input.
            given: the gradients of the outputs that it brings.

        Raises:
            NetworkFailed: the network failed, or its answer has another form.
        """
        answer = self._ask(request)
        (gradient,) = self._checked(answer, [[shape]])
        self.counts["nonfinite_gradients"] += bad_rows(gradient)
        self.counts["zero_gradients"] += lost_rows(given, gradient)
        return self._passed_on(answer)

    def free(self, request: Message) -> None:
        """Tell the network that a graph is not needed any more.

        Raises:
            NetworkFailed: the network failed.
        """
        self._ask(request)

    def _passed_on(self, answer: Message) -> Message:
        """Return an answer as the attack gets it: with the network's file, if it lacks that."""
        file = self._connection.unsent_file()
        return Message("answer", answer.tensors, descriptor=file)

    def _ask(self, request: Message, tensors: Sequence[Tensor] = ()) -> Message:
        """Send a request and return the answer."""
        self.asked_at = time.monotonic()
        try:
            with contextlib.suppress(BrokenPipeError):  # it may have said why before it ended
                self._connection.send(request, tensors)
            answer = self._connection.receive()
        except ContractError as error:
            raise NetworkFailed("contract_violation", f"the network sent {error}") from None
        except ConnectionError:
            answer = None
        if answer is None:
            raise NetworkFailed("module_error", "the network's process ended")
        self.seconds += time.monotonic() - self.asked_at
        self.asked_at = None
        if answer.kind == "failed":
            status, by, reason = [*answer.text.split("\n", 2), "", ""][:3]
            raise NetworkFailed(status if status in OWN_ENDS else "module_error", reason, by)
        return answer

    def _output_shapes(self, kind: str, given: Sequence[Shape]) -> list[Collection[Shape]] | None:
        """Return the allowed shapes of each tensor of an answer; ``None``: any, row for row."""
        if kind in ANSWERS:
            if given[0] not in self._allowed:
                x = torch.empty(given[0], device="meta")
                self._allowed[given[0]] = TASKS[self._spec.task].shapes(x, self._spec)
            return [self._allowed[given[0]]]
        if kind.startswith("training_loss"):
            return [[tuple(given[-1][:1])]]
        return None

    def _checked(
        self, answer: Message, allowed: Sequence[Collection[Shape]] | None
    ) -> list[Tensor]:
        """Return an answer's tensors where the network's process may change them at any time.

        Raises:
            NetworkFailed: they are of another number, type or shape, or lie outside their file.
        """
        try:
            found = self._connection.views(answer)
        except ContractError as error:
            raise NetworkFailed("contract_violation", f"the network sent {error}") from None
        fits = bool(found) and (
            allowed is None
            or (
                len(found) == len(allowed)
                and all(tuple(one.shape) in some for one, some in zip(found, allowed, strict=True))
            )
        )
        if not fits or any(one.dtype != torch.float32 for one in found):
            text = ", ".join(f"{str(one.dtype)[6:]} {list(one.shape)}" for one in found)
            reason = f"the network's process answered with {text or 'nothing'}"
            raise NetworkFailed("contract_violation", reason[:300])
        return found


def bad_rows(values: Tensor) -> int:
    """Return how many rows hold a value that is not finite."""
    array = values.numpy()  # numpy's calls cost a tenth of torch's
    if math.isfinite(array.sum()):  # it is, unless a value is not or the sum overflows
        return 0
    return int((~np.isfinite(array)).reshape(len(array), -1).any(axis=1).sum())


def lost_rows(given: Sequence[Tensor], gradient: Tensor) -> int:
    """Return how many rows have a gradient of zero although that of the outputs is not zero."""
    rows = len(gradient)
    zero = ~gradient.numpy().reshape(rows, -1).any(axis=1)
    if not zero.any() or any(len(one) != rows for one in given):
        return 0
    pulled = np.any([one.numpy().reshape(rows, -1).any(axis=1) for one in given], axis=0)
    return int((zero & pulled).sum())
