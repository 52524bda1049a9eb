"""Victim of the self-check: one linear layer, which may behave oddly while it is attacked."""

from __future__ import annotations

import os
import runpy
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.runtime import gradients
from harness.runtime.contracts import Spec
from harness.runtime.worker import arrays


class Linear:
    """Linear layer on flat inputs; with ``fail``, it cannot be built.

    Args:
        fail: whether ``build`` fails.
        odd: what it does before it answers a gradient, a row of ``ODD``, and an argument.
    """

    head = "1"
    stages = ()

    def __init__(self, fail: bool = False, odd: str = "") -> None:
        self.fail, self.odd = fail, odd

    def build(self, spec: Spec) -> nn.Module:
        """Return the network; its weights come from the host."""
        if self.fail:
            raise RuntimeError("this oracle cannot start")
        inputs = 1
        for side in spec.shape:
            inputs *= side
        network = nn.Sequential(nn.Flatten(), nn.Linear(inputs, spec.outputs))
        if self.odd:
            name, _, argument = self.odd.partition(" ")
            network.register_forward_pre_hook(lambda _, given: ODD[name](given[0], argument))
        return network


def dies(x: Tensor, argument: str) -> None:
    """Die by a signal."""
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(x: Tensor, argument: str) -> None:
    """Never answer."""
    time.sleep(600)


def stops(x: Tensor, argument: str) -> None:
    """Ask the broker to stop, as the harness does."""
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(600)


def floods(x: Tensor, argument: str) -> None:
    """Send noise to the broker."""
    socket.socket(fileno=os.dup(3)).sendall(b"\xff" * (1 << 20))
    time.sleep(600)


def picky(x: Tensor, argument: str) -> None:
    """Fail on what is no picture."""
    if not bool((x >= 0).all()) or not bool((x <= 1).all()):
        raise ValueError("no picture")


def patches(x: Tensor, argument: str) -> None:
    """Replace what an attack uses, in this process."""
    vars(torch.autograd)["grad"] = vars(gradients)["project"] = vars(arrays)["save_array"] = None


def leaves_files(x: Tensor, argument: str) -> None:
    """Leave files where the broker keeps what the network was shown."""
    folder = Path.cwd().parent / "out" / "shown"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("outputs.npy", "digests.json"):
        (folder / name).write_text("forged", encoding="utf-8")


def looks(x: Tensor, argument: str) -> None:
    """Raise if a file or the memory of another process can be read."""
    probes = runpy.run_path(str(Path(__file__).with_name("networks.py")))
    if found := probes["reached"]([argument]):
        raise RuntimeError(f"the network reached {', '.join(found)}")


ODD: dict[str, Callable[[Tensor, str], None]] = {
    "dies": dies,
    "hangs": hangs,
    "stops": stops,
    "floods": floods,
    "picky": picky,
    "patches": patches,
    "leaves-files": leaves_files,
    "looks": looks,
}
