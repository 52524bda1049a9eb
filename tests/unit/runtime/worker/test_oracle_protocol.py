"""Messages between an attack and its oracle; either side may be hostile."""

import socket
import struct

import numpy as np
import pytest

from harness.runtime.contracts import ContractError
from harness.runtime.worker import oracle_protocol
from harness.runtime.worker.oracle_protocol import MAX_BYTES, Message


@pytest.fixture
def pair():
    one, two = socket.socketpair()
    with one, two:
        yield one, two


@pytest.mark.parametrize(
    "message",
    [
        Message("left", arrays=[np.arange(3)]),
        Message("predict", arrays=[np.arange(2), np.ones((2, 1, 4), np.float32)]),
        Message(error="no such row"),
        Message(refused=True),
        Message(unlimited=True),
    ],
)
def test_a_message_arrives_as_it_was_sent(pair, message):
    oracle_protocol.send(pair[0], message)
    received = oracle_protocol.receive(pair[1])
    for name in ("ask", "error", "refused", "unlimited"):
        assert getattr(received, name) == getattr(message, name)
    for sent, found in zip(message.arrays, received.arrays, strict=True):
        assert sent.dtype == found.dtype
        np.testing.assert_array_equal(sent, found)


def test_a_closed_connection_is_no_message(pair):
    pair[0].sendall(b"\x05")
    pair[0].close()
    assert oracle_protocol.receive(pair[1]) is None


@pytest.mark.parametrize("text", [b"[1, 2]", b'"text"', b'{"arrays": [["O", [1]]]}'])
def test_other_headers_are_refused(pair, text):
    pair[0].sendall(struct.pack("<Q", len(text)) + text)
    with pytest.raises(ContractError):
        oracle_protocol.receive(pair[1])


def test_a_message_that_is_too_large_is_refused_before_it_is_read(pair):
    pair[0].sendall(struct.pack("<Q", MAX_BYTES + 1))
    with pytest.raises(ContractError, match="at most"):
        oracle_protocol.receive(pair[1])
