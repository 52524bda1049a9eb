"""The query oracle: it runs in a process of its own, holds the weights and counts the queries.

The attack's side has a socket and nothing else (``oracle_model``).
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.runtime.contracts import ContractError
from harness.runtime.worker import oracle_protocol
from harness.runtime.worker.oracle_protocol import Message


class Oracle:
    """Server that answers queries and counts them for each example.

    A batch in which an example exceeds its queries is refused as a whole and not counted.

    Args:
        answer: function from inputs ``[B, …]`` to outputs, without gradients.
        examples: number of examples of the eval subset.
        queries: queries allowed per example, or ``None`` for no limit.
        answers: form of an answer, ``scores`` or ``labels``.
        shape: shape of one input.

    Attributes:
        counts: queries of each example, int64 ``[N]``.
        refused: rows of all refused batches.
    """

    def __init__(
        self,
        answer: Callable[[Tensor], Tensor],
        examples: int,
        queries: int | None,
        answers: str,
        shape: tuple[int, ...],
    ) -> None:
        self.counts = np.zeros(examples, dtype=np.int64)
        self.refused = 0
        self._answer, self._queries = answer, queries
        self._answers, self._shape = answers, shape

    def serve(self, server: socket.socket) -> None:
        """Answer on a listening socket until SIGTERM; one that is pending already counts too."""
        stopping = False

        def stop(*_: object) -> None:
            nonlocal stopping
            stopping = True
            raise _Stop

        signal.signal(signal.SIGTERM, stop)
        with server:
            try:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
                while not stopping:
                    connection, _ = server.accept()
                    with connection:
                        self._serve_connection(connection)
            except _Stop:
                pass

    def _serve_connection(self, connection: socket.socket) -> None:
        """Answer the queries of one connection until it is closed, at whatever point that is."""
        with contextlib.suppress(ConnectionError):
            while True:
                try:
                    query = oracle_protocol.receive(connection)
                except (ContractError, ValueError, TypeError) as error:
                    oracle_protocol.send(connection, Message(error=f"unreadable query: {error}"))
                    return
                if query is None:
                    return
                oracle_protocol.send(connection, self._reply(query))

    def _reply(self, query: Message) -> Message:
        arrays = query.arrays
        if not arrays or arrays[0].dtype != np.int64 or arrays[0].ndim != 1:
            return Message(error="a query names its rows as int64 [B]")
        rows = arrays[0]
        if rows.size and (rows.min() < 0 or rows.max() >= len(self.counts)):
            return Message(error="a query names rows outside the slice")
        if query.ask == "left":
            if self._queries is None:
                return Message(unlimited=True)
            return Message(arrays=[self._queries - self.counts[rows]])
        if len(arrays) != 2 or arrays[1].dtype != np.float32:
            return Message(error="a query is rows int64 [B] and inputs float32 [B, …]")
        x = arrays[1]
        if x.shape != (len(rows), *self._shape):
            expected = [len(rows), *self._shape]
            return Message(error=f"expected inputs {expected}, got {list(x.shape)}")
        asked = np.bincount(rows, minlength=len(self.counts))
        if self._queries is not None and bool(((self.counts + asked) > self._queries)[rows].any()):
            self.refused += len(rows)
            return Message(refused=True)
        self.counts += asked
        out = self._answer(torch.from_numpy(x.copy()))
        if self._answers == "labels":
            out = out.argmax(dim=1)
        return Message(arrays=[out.cpu().numpy()])


def listen(path: Path, descriptor: int | None) -> socket.socket:
    """Return the listening socket of an oracle.

    Args:
        path: where to make the socket if it is not inherited.
        descriptor: descriptor of an inherited listening socket, or ``None``.
    """
    if descriptor is not None:
        return socket.socket(fileno=descriptor)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(4)
    return server


class _Stop(Exception):
    """SIGTERM: the attack has ended."""
