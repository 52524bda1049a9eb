"""A network behind the border, without executor and stages: three parties, over socket pairs."""

import os
import socket
import threading
import traceback
from contextlib import contextmanager

import torch

from harness.runtime.model import NEEDS, LiveModel
from harness.runtime.tasks import loss_for
from harness.runtime.worker.access import Access
from harness.runtime.worker.broker import Broker
from harness.runtime.worker.failures import NetworkFailed
from harness.runtime.worker.network_link import NetworkLink
from harness.runtime.worker.network_model import NetworkModel
from harness.runtime.worker.network_process import ASKS, NetworkProcess
from harness.runtime.worker.network_protocol import Connection

CPU = torch.device("cpu")


def live_of(network, spec, victim=None, loss=None):
    """The network as its own process holds it."""
    return LiveModel(network, network, victim, spec, lambda: network, loss or loss_for(spec), NEEDS)


def forked(serve):
    """Run a function in a child; return its end of a socket pair and the child's number."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            torch.set_num_threads(1)
            serve(theirs)
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(0)
    theirs.close()
    return ours, pid


class Service:
    """A served network.

    Attributes:
        model: the attack's side.
        broker: the harness's side, in a thread; what it counts in a process stays there.
        failure: how the network failed, or ``None``.
    """

    def __init__(self, live, access=None, *, process=False, serve=None):
        self.failure = None
        access = access or Access(asks=set(ASKS), examples=100)
        serve = serve or (lambda end: NetworkProcess(live, Connection(end), CPU).serve())
        self.children = []
        end, pid = forked(serve)
        self.children.append(pid)
        self.broker = Broker(NetworkLink(Connection(end), live.spec), live.spec, access)
        if process:
            self.channel, pid = forked(lambda s: self.broker.serve_connection(Connection(s)))
            end.close()
            self.children.append(pid)
        else:
            self.channel, theirs = socket.socketpair()
            self.thread = threading.Thread(target=self._serve, args=(theirs, end), daemon=True)
            self.thread.start()
        self.model = NetworkModel(
            self.channel, live.spec, CPU, needs=NEEDS, queries=access.ledger is not None
        )

    def _serve(self, channel, network):
        with channel, network:
            try:
                self.broker.serve_connection(Connection(channel))
            except NetworkFailed as error:
                self.failure = error

    def close(self):
        self.channel.close()
        if hasattr(self, "thread"):
            self.thread.join(10)
            assert not self.thread.is_alive()
        for pid in self.children:
            os.waitpid(pid, 0)


@contextmanager
def served(live, access=None, **settings):
    """Give a served network."""
    service = Service(live, access, **settings)
    try:
        yield service
    finally:
        service.close()
