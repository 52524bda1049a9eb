"""Messages to a container arrive whole, whatever arrives together."""

import json
import os
import socket

import pytest

from harness.runtime.worker.protocol import Channel, RunStage, StopStage

ORDER = json.dumps({"job": {}, "seconds": 1.0, "memory_gb": 1.0, "disk_bytes": 1}).encode() + b"\n"
STOP = b'{"stop": true}\n'


@pytest.mark.parametrize("stops", [0, 1, 2])
def test_a_stage_gets_its_socket_also_behind_a_stop_that_came_too_late(stops):
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket(socket.AF_UNIX) as given:
        ours.sendall(STOP * stops)
        socket.send_fds(ours, [ORDER[:1]], [given.fileno()])
        ours.sendall(ORDER[1:] + ORDER)
        channel = Channel(theirs)
        for _ in range(stops):
            assert isinstance(channel.receive(), StopStage)
        first, second = channel.receive(), channel.receive()
        assert isinstance(first, RunStage)
        assert os.path.sameopenfile(first.listener, given.fileno())
        os.close(first.listener)
        assert isinstance(second, RunStage)
        assert second.listener is None
