"""The query oracle: a process of its own that holds the weights and counts queries per example.

The attack's side holds a socket and nothing else. A message is an 8-byte header length, a JSON
header, and raw little-endian arrays: nothing that is unpickled.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.runtime.contracts import ContractError, QueryRefused, Spec
from harness.runtime.worker.arrays import Array

LIMIT = 1 << 30
"""Bytes in one message at most; an honest batch is far below."""


def send(link: socket.socket, header: dict[str, Any], arrays: list[Array]) -> None:
    """Send a header and arrays."""
    header = header | {"arrays": [[a.dtype.str, list(a.shape)] for a in arrays]}
    text = json.dumps(header).encode()
    body = b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)
    link.sendall(struct.pack("<Q", len(text)) + text + body)


def receive(link: socket.socket) -> tuple[dict[str, Any], list[Array]] | None:
    """The next message, or ``None`` when the other side has gone."""
    size = _read(link, 8)
    if size is None:
        return None
    text = _read(link, _bounded(struct.unpack("<Q", size)[0]))
    if text is None:
        return None
    header = json.loads(text)
    arrays = []
    for dtype, shape in header.get("arrays", []):
        kind = np.dtype(str(dtype))
        if kind.hasobject:
            raise ContractError("an oracle message may hold numbers only")
        body = _read(link, _bounded(int(np.prod(shape, dtype=np.int64)) * kind.itemsize))
        if body is None:
            return None
        arrays.append(np.frombuffer(body, dtype=kind).reshape(shape))
    return header, arrays


def _bounded(size: int) -> int:
    if not 0 <= size <= LIMIT:
        raise ContractError(f"an oracle message of {size} bytes; at most {LIMIT}")
    return size


def _read(link: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = link.recv(min(size - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)


class Oracle:
    """Answers queries and counts them; an over-budget batch is refused whole and not counted.

    Args:
        answer: inputs ``[B, …]`` to outputs, without gradients.
        examples: how many examples the slice has.
        queries: answers allowed per example, ``None`` for no limit.
        answers: ``scores`` or ``labels``.
        shape: one input's shape.
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
        """Answer on a listening socket until SIGTERM, also one that has come before."""
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
                    link, _ = server.accept()
                    with link:
                        self._talk(link)
            except _Stop:
                pass

    def _talk(self, link: socket.socket) -> None:
        """Answer one caller until it hangs up, at whatever point that is."""
        with contextlib.suppress(ConnectionError):
            while True:
                try:
                    message = receive(link)
                except (ContractError, ValueError, TypeError) as error:
                    send(link, {"error": f"unreadable query: {error}"}, [])
                    return
                if message is None:
                    return
                send(link, *self._reply(*message))

    def _reply(
        self, header: dict[str, Any], arrays: list[Array]
    ) -> tuple[dict[str, Any], list[Array]]:
        if not arrays or arrays[0].dtype != np.int64 or arrays[0].ndim != 1:
            return {"error": "a query names its rows as int64 [B]"}, []
        rows = arrays[0]
        if rows.size and (rows.min() < 0 or rows.max() >= len(self.counts)):
            return {"error": "a query names rows outside the slice"}, []
        if header.get("ask") == "left":
            if self._queries is None:
                return {"unlimited": True}, []
            return {}, [self._queries - self.counts[rows]]
        if len(arrays) != 2 or arrays[1].dtype != np.float32:
            return {"error": "a query is rows int64 [B] and inputs float32 [B, …]"}, []
        x = arrays[1]
        if x.shape != (len(rows), *self._shape):
            return {
                "error": f"expected inputs {[len(rows), *self._shape]}, got {list(x.shape)}"
            }, []
        asked = np.bincount(rows, minlength=len(self.counts))
        if self._queries is not None and bool(((self.counts + asked) > self._queries)[rows].any()):
            self.refused += len(rows)
            return {"refused": True}, []
        self.counts += asked
        out = self._answer(torch.from_numpy(x.copy()))
        if self._answers == "labels":
            out = out.argmax(dim=1)
        return {}, [out.cpu().numpy()]


def listening(path: Path, number: int | None) -> socket.socket:
    """Where the oracle answers: a socket that it was born with, or one of its own at ``path``."""
    if number is not None:
        return socket.socket(fileno=number)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(4)
    return server


class _Stop(Exception):
    """SIGTERM arrived: the attack is over."""


class OracleModel:
    """The attack's side of the oracle; see ``contracts.Model``. Has ``predict`` and ``left`` only.

    Attributes:
        rows: which rows of the slice the present batch holds; set by the worker.
    """

    def __init__(self, path: Path, spec: Spec, device: torch.device) -> None:
        self.spec = spec
        self.rows = torch.empty(0, dtype=torch.int64)
        self._device = device
        self._link = socket.socket(socket.AF_UNIX)
        self._link.connect(str(path))

    def predict(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Ask for outputs; one query a row.

        Raises:
            QueryRefused: a row has no query left; nothing was counted.
        """
        chosen = self.rows if rows is None else self.rows[rows.cpu()]
        header, arrays = self._ask(
            {"ask": "predict"}, [chosen.numpy(), x.detach().cpu().contiguous().float().numpy()]
        )
        if header.get("refused"):
            raise QueryRefused("a row of this batch has no query left; see model.left()")
        return torch.from_numpy(arrays[0].copy()).to(self._device)

    def left(self) -> Tensor | None:
        """Queries left per row of the present batch."""
        header, arrays = self._ask({"ask": "left"}, [self.rows.numpy()])
        if header.get("unlimited"):
            return None
        return torch.from_numpy(arrays[0].copy()).to(self._device)

    def _ask(
        self, header: dict[str, Any], arrays: list[Array]
    ) -> tuple[dict[str, Any], list[Array]]:
        send(self._link, header, arrays)
        message = receive(self._link)
        if message is None:
            raise ConnectionError("the oracle has gone")
        if "error" in message[0]:
            raise ContractError(f"the oracle refused the query: {message[0]['error']}")
        return message
