"""Probes with white-box access to a network in another process."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from harness.runtime.worker.network_model import NetworkModel

ROOTS = ("/box", "/stage")
"""Folders of a container that hold what a stage was granted."""


def passes(model: NetworkModel, value: float = 0.5) -> dict[str, object]:
    """Make a forward and a backward pass; return the gradients."""
    x = torch.full((2, 1, 2, 2), value, requires_grad=True)
    model.module(x).sum().backward()
    assert x.grad is not None
    return {"gradients": x.grad.flatten(1).tolist()}


def shows(model: NetworkModel) -> dict[str, object]:
    """Show a batch; return its digest."""
    x = torch.full((2, 1, 2, 2), 0.5)
    model.begin(torch.arange(2))
    model.show(x)
    return {"digest": hashlib.sha256(x.numpy().tobytes()).hexdigest()}


def looks(model: NetworkModel, paths: Sequence[str]) -> dict[str, object]:
    """Look for files of the network and for other processes' memory, while the network lives."""
    passes(model)
    return {"found": reached(paths)}


def reached(paths: Sequence[str]) -> list[str]:
    """Return which files can be read, here or by their names, and which processes' memory."""
    found = [path for path in paths if os.access(path, os.R_OK)]
    names = {Path(path).name for path in paths}
    for root in ROOTS:
        for folder, _, files in os.walk(root):
            found += [f"{folder}/{name}" for name in files if name in names]
    for number in filter(str.isdigit, os.listdir("/proc")):
        if int(number) != os.getpid():
            try:
                with open(f"/proc/{number}/mem", "rb"):
                    found.append(f"memory of process {number}")
            except OSError:
                continue
    return found
