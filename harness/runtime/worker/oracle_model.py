"""The attack's side of the query oracle."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import torch
from torch import Tensor

from harness.runtime.contracts import ContractError, QueryRefused, Spec
from harness.runtime.worker import oracle_protocol
from harness.runtime.worker.oracle_protocol import Message

CONNECT_SECONDS = 0.005
"""Time between two attempts to connect."""


class OracleModel:
    """Model that asks an oracle; of ``contracts.Model`` it has ``predict`` and ``left`` only.

    Args:
        path: Unix socket of the oracle.
        spec: description of the data set.
        device: device of the answers.

    Attributes:
        rows: rows of the eval subset that the present batch holds; set by the worker.
    """

    def __init__(self, path: Path, spec: Spec, device: torch.device) -> None:
        self.spec = spec
        self.rows = torch.empty(0, dtype=torch.int64)
        self._device = device
        self._connection = connect(path)

    def predict(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return outputs, at the cost of one query per row.

        Args:
            x: inputs in [0, 1], float32 ``[R, …]``.
            rows: int64 ``[R]``, the example of the present batch that each input belongs to.

        Raises:
            QueryRefused: a row has no query left; none was counted.
        """
        chosen = self.rows if rows is None else self.rows[rows.cpu()]
        inputs = x.detach().cpu().contiguous().float().numpy()
        answer = self._ask(Message("predict", arrays=[chosen.numpy(), inputs]))
        if answer.refused:
            raise QueryRefused("a row of this batch has no query left; see model.left()")
        return self._tensor(answer)

    def left(self) -> Tensor | None:
        """Return the queries left per row of the present batch; ``None``: no limit."""
        answer = self._ask(Message("left", arrays=[self.rows.numpy()]))
        return None if answer.unlimited else self._tensor(answer)

    def _tensor(self, answer: Message) -> Tensor:
        return torch.from_numpy(answer.arrays[0].copy()).to(self._device)

    def _ask(self, query: Message) -> Message:
        oracle_protocol.send(self._connection, query)
        answer = oracle_protocol.receive(self._connection)
        if answer is None:
            raise ConnectionError("the oracle has gone")
        if answer.error:
            raise ContractError(f"the oracle refused the query: {answer.error}")
        return answer


def connect(path: Path) -> socket.socket:
    """Connect to a service, once it listens; the harness ends the attack if it never does."""
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            time.sleep(CONNECT_SECONDS)
        else:
            return connection
