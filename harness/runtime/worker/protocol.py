"""The line between the harness and a container.

JSON lines, each followed by as many raw bytes as its ``size`` says; an order may carry one open
file.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

PIECE = 1 << 20


class Orders:
    """The container's end of the line: orders come in, events and files go out."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self._pending = b""

    def fileno(self) -> int:
        """For ``select``."""
        return self.line.fileno()

    def read(self) -> tuple[dict[str, Any], int | None] | None:
        """The next order with its open file, or ``None`` when the harness has gone."""
        handed: list[int] = []
        while b"\n" not in self._pending:
            text, files, _, _ = socket.recv_fds(self.line, PIECE, 1)
            handed += files
            if not text:
                return None
            self._pending += text
        text, _, self._pending = self._pending.partition(b"\n")
        return json.loads(text), next(iter(handed), None)

    def say(self, event: dict[str, Any], body: bytes = b"") -> None:
        """One event, with its bytes."""
        header = event | ({"size": len(body)} if body else {})
        self.line.sendall(json.dumps(header).encode() + b"\n" + body)

    def send(self, event: dict[str, Any], path: Path) -> None:
        """One event with a file's bytes, as many as it has now; no link is followed."""
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(number, "rb") as file:
            size = os.fstat(number).st_size
            self.line.sendall(json.dumps(event | {"size": size}).encode() + b"\n")
            while size and (piece := file.read(min(size, PIECE))):
                self.line.sendall(piece)
                size -= len(piece)
            while size:  # it has shrunk meanwhile: the other side still counts on what was said
                self.line.sendall(bytes(min(size, PIECE)))
                size -= min(size, PIECE)
