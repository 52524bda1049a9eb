"""Messages between the harness and a container, over one Unix socket.

Each message is a line of JSON. Raw bytes may follow it, as many as its ``size`` says. A message to
the container may carry one open file descriptor.
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20
"""Bytes that are read or sent at once."""
LISTENER = 3
"""Descriptor of a service's listening socket in the process of its stage."""


@dataclass(frozen=True)
class RunStage:
    """Message to run a stage.

    Attributes:
        job: contents of ``job.json``, with paths as they are in the container.
        seconds: time limit.
        memory_gb: memory limit in GiB.
        disk_bytes: largest size of output and of checkpoint.
        listener: descriptor of the socket on which the stage answers, if it is a service.
    """

    job: Mapping[str, object]
    seconds: float
    memory_gb: float
    disk_bytes: int
    listener: int | None


@dataclass(frozen=True)
class StopStage:
    """Message to end the running stage by SIGTERM."""


def parse(raw: Mapping[str, Any], descriptor: int | None) -> RunStage | StopStage:
    """Return a message from its JSON object and the descriptor that came with it."""
    if "job" not in raw:
        return StopStage()
    return RunStage(raw["job"], raw["seconds"], raw["memory_gb"], raw["disk_bytes"], descriptor)


class Channel:
    """The container's end of the socket: it receives messages and sends events and files."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pending = b""
        self._descriptor: int | None = None

    def fileno(self) -> int:
        """Return the descriptor, for ``select``."""
        return self._connection.fileno()

    def has_more(self) -> bool:
        """Return whether a part of another message is there already."""
        return bool(self._pending) or bool(select.select([self._connection], [], [], 0)[0])

    def receive(self) -> RunStage | StopStage | None:
        """Return the next message, or ``None`` if the harness has closed the socket."""
        while b"\n" not in self._pending:
            text, received, _, _ = socket.recv_fds(self._connection, CHUNK_BYTES, 1)
            # it may come together with the end of an earlier message, which has none
            self._descriptor = next(iter(received), self._descriptor)
            if not text:
                return None
            self._pending += text
        text, _, self._pending = self._pending.partition(b"\n")
        message = parse(json.loads(text), self._descriptor)
        if isinstance(message, RunStage):
            self._descriptor = None
        return message

    def send(self, event: Mapping[str, object], body: bytes = b"") -> None:
        """Send an event.

        Args:
            event: JSON object.
            body: raw bytes that belong to it.
        """
        header = {**event, "size": len(body)} if body else event
        self._connection.sendall(json.dumps(header).encode() + b"\n" + body)

    def send_file(self, event: Mapping[str, object], path: Path) -> None:
        """Send an event with the bytes of a file, as many as it has now; links are not followed.

        Args:
            event: JSON object.
            path: file to send.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            size = os.fstat(descriptor).st_size
            self._connection.sendall(json.dumps({**event, "size": size}).encode() + b"\n")
            while size and (chunk := file.read(min(size, CHUNK_BYTES))):
                self._connection.sendall(chunk)
                size -= len(chunk)
            while size:  # the file has shrunk: the harness still expects the announced bytes
                self._connection.sendall(bytes(min(size, CHUNK_BYTES)))
                size -= min(size, CHUNK_BYTES)
