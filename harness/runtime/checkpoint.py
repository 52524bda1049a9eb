"""Checkpoints of a training, which survive a kill, and its best state so far."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.runtime.averaging import Mean
from harness.runtime.contracts import Data, Overlay
from harness.runtime.model import eval_mode

SAVE_SECONDS = 10.0
"""Shortest time between two checkpoints."""


class Best:
    """Best state so far.

    Attributes:
        last: latest score.
        score: best score.
        step: step of the best score.
        state: copy of the network's state at that step, or ``None`` before the first score.
    """

    def __init__(self) -> None:
        self.last, self.score, self.step = math.nan, -math.inf, 0
        self.state: dict[str, Tensor] | None = None

    def offer(self, network: nn.Module, score: Callable[[nn.Module], float], step: int) -> None:
        """Score the network; copy its state if the score is better than all before."""
        with eval_mode(network), torch.no_grad():
            self.last = float(score(network))
        if self.last > self.score:
            self.score, self.step = self.last, step
            self.state = {key: t.detach().clone() for key, t in network.state_dict().items()}

    def restore(self, network: nn.Module) -> None:
        """Load the best state into the network, if there is one."""
        if self.state is not None:
            network.load_state_dict(self.state)


class Checkpoint:
    """File with weights, optimiser, steps, best state and mean, written aside and renamed.

    Its name is a digest of all that the result depends on, so that no fit of a stage resumes from
    the file of another.
    """

    def __init__(
        self,
        folder: Path,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        best: Best,
        mean: Mean,
        digest: str,
    ) -> None:
        self._path = folder / f"{digest[:32]}.pt"
        self._network, self._optimizer, self._best, self._mean = network, optimizer, best, mean
        self._saved = time.monotonic()

    def resume(self) -> int:
        """Load the checkpoint if there is one; return the number of steps already done."""
        if not self._path.is_file():
            return 0
        try:
            # the state of an optimiser is nested, which safetensors cannot hold; weights_only
            # unpickles tensors and plain values only
            saved = torch.load(self._path, map_location="cpu", weights_only=True)  # noqa: TID251
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError):
            return 0  # truncated by a full disk: the fit starts over
        self._network.load_state_dict(saved["network"])
        self._optimizer.load_state_dict(saved["rule"])
        self._best.score, self._best.step, self._best.state = saved["best"]
        self._mean.count, self._mean.values = saved["mean"]
        return int(saved["step"])

    def save(self, step: int, *, last: bool) -> None:
        """Write the checkpoint if ``SAVE_SECONDS`` have passed.

        Args:
            step: number of steps done.
            last: whether this is the last step; it is saved only if an earlier one was.
        """
        now = time.monotonic()
        if now - self._saved < SAVE_SECONDS and not (last and self._path.is_file()):
            return
        aside = self._path.with_suffix(".aside")
        state = {
            "network": self._network.state_dict(),
            "rule": self._optimizer.state_dict(),
            "step": step,
            "best": (self._best.score, self._best.step, self._best.state),
            "mean": (self._mean.count, self._mean.values),
        }
        torch.save(state, aside)
        aside.replace(self._path)
        self._saved = time.monotonic()


def digest_of(facts: Mapping[str, object], network: nn.Module, train: Data) -> str:
    """Return a digest of a fit: its facts, the initial weights, the examples with their labels.

    An ``Overlay`` counts as well; another function on the inputs is known by the fit's name alone.
    """
    total = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    tensors = [*network.state_dict().items(), ("ids", train.ids), ("y", train.y)]
    if isinstance(train.overlay, Overlay):
        tensors += [(f"overlay {name}", value) for name, value in train.overlay.tensors().items()]
    for key, tensor in tensors:
        _add(total, key, tensor)
    return total.hexdigest()


def optimizer_digest(optimizer: torch.optim.Optimizer) -> str:
    """Return a digest of an optimiser's class, options and state, without the learning rate."""
    saved = optimizer.state_dict()
    groups = [[(k, v) for k, v in group.items() if k != "lr"] for group in saved["param_groups"]]
    total = hashlib.sha256(f"{type(optimizer).__name__} {groups}".encode())
    for number, state in sorted(saved["state"].items()):
        for key, value in sorted(state.items()):
            _add(total, f"{number} {key}", torch.as_tensor(0.0 if value is None else value))
    return total.hexdigest()


def _add(total: hashlib._Hash, key: str, tensor: Tensor) -> None:
    total.update(f"{key} {tensor.dtype} {list(tensor.shape)}".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    total.update(flat.view(torch.uint8).numpy().tobytes())
