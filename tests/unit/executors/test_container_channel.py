"""The connection of an idle container tells whether it still runs."""

import fcntl
import resource
import socket

import pytest

from harness.executors.container import Container


@pytest.fixture
def many_files():
    """A process that may open 2,048 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("least", [3, 1024])
def test_an_idle_container_is_alive_until_its_connection_ends(least):
    near, far = socket.socketpair()
    container = object.__new__(Container)
    with near, far, socket.socket(fileno=fcntl.fcntl(near, fcntl.F_DUPFD, least)) as channel:
        container._channel = channel
        assert channel.fileno() >= least
        assert container.alive
        far.close()
        assert not container.alive
