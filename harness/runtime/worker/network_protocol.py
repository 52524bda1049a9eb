"""Messages between an attack, the broker and the process of a network.

A message is a header of fixed form, the description of its tensors, which lie in a memory file of
its sender (``tensor_files``), and a text. The descriptor of a new file comes along, and is never
passed on to a third party. Nothing is unpickled. Each request is answered before the next one.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from harness.runtime.contracts import ContractError
from harness.runtime.worker.tensor_files import Inbox, Outbox

HEADER = struct.Struct("<BBHHIII")
"""Kind, flags, sizes of description and text, graph, first and rows of a message."""
KINDS = (
    *("answer", "error", "refused", "unlimited", "failed"),
    *("begin", "show", "goal", "left", "query", "free", "backward"),
    *("predict", "forward", "features", "maps"),
    *("training_loss", "training_loss_of", "training_loss_gradient"),
)
"""Kinds of messages: those of the first line answer a request of the others."""
NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
KEEP = 1
"""Flag: the graph of a pass is kept."""
MAX_TEXT = 4000
USUAL_BYTES = 4096
"""Bytes that are read at once; most messages are far shorter."""


class Message(NamedTuple):
    """Request or answer.

    Attributes:
        kind: one of ``KINDS``.
        tensors: description of the tensors that it brings.
        graph: number of a forward pass whose graph the network keeps; 0 for none.
        first: in ``begin``, the first row of a batch; in ``backward``, a bit for each output whose
            gradient it brings.
        rows: in ``begin``, the batch's number of rows.
        keep: whether the graph is kept after the pass.
        text: what is wrong, in ``error``; status, role and reason, line by line, in ``failed``.
    """

    kind: str
    tensors: bytes = b""
    graph: int = 0
    first: int = 0
    rows: int = 0
    keep: bool = False
    text: str = ""


class Connection:
    """One end of a connection over a Unix socket.

    Args:
        channel: connected stream socket.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._outbox, self._inbox = Outbox(), Inbox()
        self._placed = b""  # what the next message brings
        self._file: int | None = None  # and its file, where the receiver lacks it

    def place(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copy tensors that the next message brings; return the copies, to be checked.

        The receiver cannot change them. The next call overwrites them.

        Raises:
            ContractError: a tensor has a type that does not cross, or they are too large.
        """
        self._placed, file, copies = self._outbox.put(tensors)
        if file is not None:
            close(self._file)  # of a file that was never sent
            self._file = file
        return copies

    def send(self, message: Message, tensors: Sequence[Tensor] = ()) -> None:
        """Send a message.

        Args:
            message: the message, without a description of tensors.
            tensors: what it brings, beside what was placed; one of them is empty.

        Raises:
            ContractError: a tensor has a type that does not cross, or they are too large.
        """
        if tensors:
            self.place(tensors)
        block, descriptor = self._placed, self._file
        self._placed, self._file = b"", None
        text = message.text[:MAX_TEXT].encode("utf-8", "replace") if message.text else b""
        header = HEADER.pack(
            NUMBERS[message.kind],
            message.keep * KEEP,
            len(block),
            len(text),
            message.graph,
            message.first,
            message.rows,
        )
        data = header + block + text
        try:
            if descriptor is None:
                self._channel.sendall(data)
            else:
                sent = socket.send_fds(self._channel, [data], [descriptor])
                if sent < len(data):
                    self._channel.sendall(data[sent:])
        finally:
            close(descriptor)

    def receive(self) -> Message | None:
        """Return the next message, or ``None`` if the other side has closed the connection.

        Raises:
            ContractError: the message is malformed.
        """
        data, descriptor = b"", None
        missing = HEADER.size
        try:
            while missing > 0:
                # nothing follows a message before its answer: so all that is there belongs to it
                part, control, _, _ = self._channel.recvmsg(
                    max(USUAL_BYTES, missing), socket.CMSG_LEN(4), socket.MSG_CMSG_CLOEXEC
                )
                if control:
                    close(descriptor)
                    descriptor = first_descriptor(control)
                if not part:
                    return None
                data += part
                if len(data) >= HEADER.size:
                    number, flags, size, length, graph, first, rows = HEADER.unpack_from(data)
                    missing = HEADER.size + size + length - len(data)
            if missing or number >= len(KINDS) or flags > KEEP:
                raise ContractError("a malformed message")
            start = HEADER.size + size
            message = Message(
                KINDS[number],
                data[HEADER.size : start],
                graph,
                first,
                rows,
                bool(flags & KEEP),
                data[start:].decode("utf-8", "replace") if length else "",
            )
            if descriptor is not None:
                self._inbox.accept(descriptor)
        finally:
            close(descriptor)
        return message

    def views(self, message: Message) -> list[Tensor]:
        """Return a message's tensors where its sender may change them at any time.

        Raises:
            ContractError: one does not lie in its file.
        """
        return self._inbox.views(message.tensors)

    def take(self, message: Message) -> list[Tensor]:
        """Return copies of a message's tensors; see ``views``."""
        return self._inbox.take(message.tensors)


def first_descriptor(control: Sequence[tuple[int, int, bytes]]) -> int | None:
    """Return the first descriptor that came with a message, and close all others."""
    found: list[int] = []
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found += array.array("i", data[: len(data) - len(data) % 4])
    for descriptor in found[1:]:
        close(descriptor)
    return found[0] if found else None


def close(descriptor: int | None) -> None:
    """Close a descriptor, if there is one."""
    if descriptor is not None:
        with contextlib.suppress(OSError):
            os.close(descriptor)
