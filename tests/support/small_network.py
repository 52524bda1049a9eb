"""A small network, and a network's process that answers in its own way."""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from harness.runtime.contracts import Spec
from harness.runtime.worker.network_protocol import Connection, Message

SPEC = Spec("classification", 4, (2, 4, 4))


class Small(nn.Module):
    """A network with a head and a stage."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(48, 4)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


VICTIM = SimpleNamespace(head="head", stages=("body",))


def smoothed(network, x, y):
    return F.cross_entropy(network(x), y, reduction="none", label_smoothing=0.1)


def batch(rows=6):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(rows, 2, 4, 4, generator=generator), torch.arange(rows) % 4


CALLS = {
    "module": lambda m, x, y: m.module(x),
    "loss": lambda m, x, y: m.loss(x, y),
    "training_loss": lambda m, x, y: m.training_loss(x, y),
    "features": lambda m, x, y: m.features(x),
    "maps": lambda m, x, y: m.maps(x)[0],
    "training_loss_of": lambda m, x, y: m.training_loss_of(x.flatten(1)[:, :4], y),
}
"""Request of an attack → the call on a model, a batch and its labels."""


def raw(answer):
    """A network's process that ends every request in its own way."""

    def serve(end):
        connection = Connection(end)
        while (request := connection.receive()) is not None:
            answer(connection, request)

    return serve


def reply(*tensors):
    return raw(lambda connection, _: connection.send(Message("answer"), tensors))
