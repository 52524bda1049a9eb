"""Relay of a stage's log to the harness: the head as it comes, the tail at the end."""

from __future__ import annotations

import contextlib
import os

from harness.runtime.worker.protocol import CHUNK_BYTES, Channel

HEAD_BYTES = 1 << 20
"""Bytes of a log that are sent at once."""
TAIL_BYTES = 64 << 10
"""Last bytes of a log that are sent at its end; those between are only counted."""


class LogRelay:
    """Reader of a stage's log.

    Args:
        channel: connection to the harness.
        descriptor: reading end of the pipe that is the stage's output.
    """

    def __init__(self, channel: Channel, descriptor: int) -> None:
        self._channel, self._descriptor = channel, descriptor
        self._size, self._tail = 0, b""
        os.set_blocking(descriptor, False)

    def relay(self) -> None:
        """Read one chunk; send it if it belongs to the head."""
        with contextlib.suppress(BlockingIOError):
            self._read_chunk()

    def finish(self) -> None:
        """Read what is left, and send the tail."""
        with contextlib.suppress(BlockingIOError):
            while self._read_chunk():
                pass
        if self._tail:
            left_out = self._size - HEAD_BYTES - len(self._tail)
            gap = f"\n… {left_out} bytes left out …\n".encode() if left_out else b""
            self._channel.send({"log": True}, gap + self._tail)

    def _read_chunk(self) -> bool:
        text = os.read(self._descriptor, CHUNK_BYTES)
        head = text[: max(0, HEAD_BYTES - self._size)]
        if head:
            self._channel.send({"log": True}, head)
        self._size += len(text)
        self._tail = (self._tail + text[len(head) :])[-TAIL_BYTES:]
        return bool(text)
