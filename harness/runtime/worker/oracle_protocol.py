"""Messages between an attack and its oracle.

A message is an 8-byte header length, a JSON header, and raw arrays. Nothing is unpickled.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass, field

import numpy as np

from harness.runtime.contracts import ContractError
from harness.runtime.worker.arrays import Array

MAX_BYTES = 1 << 30
"""Largest message; an honest batch is far smaller."""
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Message:
    """Query or answer.

    Attributes:
        ask: what a query asks for, ``predict`` or ``left``; empty in an answer.
        error: why a query cannot be answered, or empty.
        refused: whether a query is refused because an example has no query left.
        unlimited: whether queries are not limited.
        arrays: rows and inputs of a query, or the result of an answer.
    """

    ask: str = ""
    error: str = ""
    refused: bool = False
    unlimited: bool = False
    arrays: list[Array] = field(default_factory=list)


def send(connection: socket.socket, message: Message) -> None:
    """Send a message."""
    header = {
        "ask": message.ask,
        "error": message.error,
        "refused": message.refused,
        "unlimited": message.unlimited,
        "arrays": [[a.dtype.str, list(a.shape)] for a in message.arrays],
    }
    text = json.dumps(header).encode()
    body = b"".join(np.ascontiguousarray(a).tobytes() for a in message.arrays)
    connection.sendall(struct.pack("<Q", len(text)) + text + body)


def receive(connection: socket.socket) -> Message | None:
    """Return the next message, or ``None`` if the other side has closed the connection.

    Raises:
        ContractError: the message is too large, or is not of the form that ``send`` writes.
        ValueError: it is no JSON, or an array has no such type or shape.
        TypeError: an array's type or shape is of the wrong kind.
    """
    size = _read(connection, 8)
    if size is None:
        return None
    text = _read(connection, _check_size(struct.unpack("<Q", size)[0]))
    if text is None:
        return None
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ContractError("an oracle message begins with a JSON object")
    arrays = []
    for dtype, shape in header.get("arrays", []):
        kind = np.dtype(str(dtype))
        if kind.hasobject:
            raise ContractError("an oracle message may hold numbers only")
        size_of_array = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        body = _read(connection, _check_size(size_of_array))
        if body is None:
            return None
        arrays.append(np.frombuffer(body, dtype=kind).reshape(shape))
    return Message(
        ask=str(header.get("ask", "")),
        error=str(header.get("error", "")),
        refused=bool(header.get("refused")),
        unlimited=bool(header.get("unlimited")),
        arrays=arrays,
    )


def _check_size(size: int) -> int:
    if not 0 <= size <= MAX_BYTES:
        raise ContractError(f"an oracle message of {size} bytes; at most {MAX_BYTES}")
    return size


def _read(connection: socket.socket, size: int) -> bytes | None:
    """Return exactly ``size`` bytes, or ``None`` if the connection ends before."""
    received = bytearray()
    while len(received) < size:
        part = connection.recv(min(size - len(received), CHUNK_BYTES))
        if not part:
            return None
        received += part
    return bytes(received)
