"""A student of a transfer: a small network, its data, and a victim that may be killed."""

from dataclasses import replace
from pathlib import Path

import torch

from harness.runtime.contracts import Data, Spec
from harness.runtime.worker.context import StageContext
from tests.support.modules import context, module

SPEC = Spec("classification", 3, (1, 8, 8))
CPU = torch.device("cpu")


class Killed(BaseException):
    """The process ended here."""


class Student:
    """``small-cnn`` with a recipe of 20 steps; ``stop`` kills it in that step of all its fits."""

    head, stages = "head", ("stages.0", "stages.1", "stages.2")

    def __init__(self, stop: int | None = None, **changes: object) -> None:
        self.victim = module("victim", "small-cnn", width=4, steps=20, batch=8)
        self.stop, self.changes = stop, {"weight_decay": 0.05, **changes}
        self.fits, self.steps = [], 0

    def build(self):
        torch.manual_seed(0)
        return self.victim.build(SPEC)

    def recipe(self, train):
        return replace(self.victim.recipe(train), **self.changes)

    def fit(self, network, train, val, loss, ctx, recipe=None):
        before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
        self.fits.append((recipe, before))

        def counted(net, x, y):
            if net.training:
                if self.steps == self.stop:
                    raise Killed
                self.steps += 1
            return loss(net, x, y)

        self.victim.fit(network, train, val, counted, ctx, recipe)


def data(count: int = 40) -> Data:
    """Pictures of three classes, which a network can tell apart by their brightness."""
    random = torch.Generator().manual_seed(3)
    y = torch.arange(count) % 3
    raw = torch.randint(80, (count, 1, 8, 8), generator=random) + 60 * y.view(-1, 1, 1, 1)
    return Data(raw.to(torch.uint8), y, torch.arange(count), SPEC, CPU)


class Logged:
    """A stage's context whose log is a list."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._inner: StageContext = context(folder, SPEC)
        self.lines: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def log(self, message: str) -> None:
        self.lines.append(message)


def defend(defense, folder, student=None, network=None):
    """Let a defence train a student. Returns the network, the student and the log."""
    student, ctx = student or Student(), Logged(folder)
    network = network or student.build()
    defense.fit(student, network, data(), data(9), None, ctx)
    return network, student, ctx.lines


def kernels(network) -> torch.Tensor:
    """All weights of convolutions, flat."""
    state = network if isinstance(network, dict) else network.state_dict()
    return torch.cat([t.flatten() for name, t in state.items() if t.ndim == 4])
