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
from harness.runtime.worker.network_process import ANSWERS, LOSSES
from harness.runtime.worker.network_protocol import Connection, Message

Shape = tuple[int, ...]

OWN_ENDS = ("contract_violation", "not_applicable", "out_of_memory", "module_error")
"""Statuses that a network's process may give for itself."""


class NetworkLink:
    """Connection to a network's process, which may send anything.

    Args:
        connection: connection to it.
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
        self._tails: dict[str, list[Shape]] = {}
        self.counts = {"nonfinite_outputs": 0, "nonfinite_gradients": 0, "zero_gradients": 0}

    def place(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copy the tensors of the next request; return the copies, which nobody else can change."""
        return self._connection.place(tensors)

    def forward(self, kind: str, tensors: Sequence[Tensor], *, graph: int = 0) -> list[Tensor]:
        """Return the network's answer, where its process may change it at any time.

        Args:
            kind: request.
            tensors: what it brings, which was placed.
            graph: number of the pass whose graph is kept, or 0.

        Raises:
            NetworkFailed: the network failed, or its answer has another form.
        """
        answer = self._ask(Message(kind, graph=graph, keep=graph > 0))
        outputs = self._checked(answer, self._output_shapes(kind, tensors))
        if kind in ("features", "maps"):
            self._check_tails(kind, outputs, len(tensors[0]))
        return outputs

    def answer(self, kind: str, x: Tensor, *, graph: int = 0) -> Tensor:
        """Return a copy of the network's output to inputs of our own; see ``forward``."""
        return self.forward(kind, self.place([x]), graph=graph)[0].clone()

    def backward(self, request: Message, shape: Shape) -> Tensor:
        """Return the gradient in an attack's input, where its process may change it at any time.

        Args:
            request: what says of which pass, of which outputs, and whether its graph is kept; the
                gradients of the outputs were placed.
            shape: shape of the input.

        Raises:
            NetworkFailed: the network failed, or its answer has another form.
        """
        return self._checked(self._ask(request), [[shape]])[0]

    def count_outputs(self, outputs: Sequence[Tensor]) -> None:
        """Count rows of outputs, once they cannot change any more."""
        self.counts["nonfinite_outputs"] += sum(map(bad_rows, outputs))

    def count_gradient(self, given: Sequence[Tensor], gradient: Tensor) -> None:
        """Count rows of a gradient, once it cannot change any more.

        Args:
            given: gradients of the outputs.
            gradient: gradient in the input.
        """
        self.counts["nonfinite_gradients"] += bad_rows(gradient)
        self.counts["zero_gradients"] += lost_rows(given, gradient)

    def free(self, graph: int) -> None:
        """Tell the network that a graph is not needed any more.

        Raises:
            NetworkFailed: the network failed.
        """
        self._ask(Message("free", graph=graph))

    def _ask(self, request: Message) -> Message:
        """Send a request and return the answer."""
        self.asked_at = time.monotonic()
        try:
            with contextlib.suppress(BrokenPipeError):  # it may have said why before it ended
                self._connection.send(request)
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

    def _output_shapes(self, kind: str, given: Sequence[Tensor]) -> list[Collection[Shape]] | None:
        """Return the allowed shapes of each tensor of an answer; ``None``: any, row for row."""
        if kind in ANSWERS:
            return [TASKS[self._spec.task].shapes(given[0], self._spec)]
        if kind in LOSSES:
            return [[tuple(given[-1].shape[:1])]]
        if kind == "training_loss_gradient":
            return [[tuple(given[0].shape)]]
        return None

    def _check_tails(self, kind: str, outputs: Sequence[Tensor], rows: int) -> None:
        """Check the rows of features or maps, and that each row has the form that it always had.

        Raises:
            NetworkFailed: they differ, which would make the attack's code fail.
        """
        tails = [tuple(one.shape[1:]) for one in outputs]
        known = self._tails.setdefault(kind, tails)
        if tails != known or any(one.shape[:1] != (rows,) for one in outputs):
            shapes = ", ".join(str(list(one.shape)) for one in outputs)
            reason = f"{kind}: the network's process answered {rows} inputs with {shapes}"
            raise NetworkFailed("contract_violation", reason[:300])

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
