"""Implementation of ``contracts.Context``."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from harness.runtime.contracts import ContractError, Sampler, Spec
from harness.runtime.worker.batches import Batch


class StageContext:
    """Context of one stage.

    Args:
        device: device on which tensors belong.
        spec: description of the data set.
        seed_root: values from which all seeds of the stage are derived.
        deadline: time on the monotonic clock at which the stage is stopped.
        scratch: folder for temporary files.
        state: folder that the module's earlier hook wrote.
        checkpoint: folder that survives a kill.
        curves: file of the training curves.

    Attributes:
        steps: gradient steps of trainings, as counted by ``count_steps``.
    """

    def __init__(
        self,
        *,
        device: torch.device,
        spec: Spec,
        seed_root: list[str | int],
        deadline: float,
        scratch: Path,
        state: Path,
        checkpoint: Path,
        curves: Path,
    ) -> None:
        self.device, self.spec = device, spec
        self.scratch, self.state, self.checkpoint = scratch, state, checkpoint
        self._seed_root, self._deadline, self._curves = seed_root, deadline, curves
        self._within: tuple[str | int, ...] = ()
        self._batch: Batch | None = None
        self.steps = 0

    @contextmanager
    def within(self, *dims: str | int) -> Iterator[None]:
        """Make the seeds in a block depend on ``dims`` too, so that calls differ."""
        before, self._within = self._within, (*self._within, *dims)
        try:
            yield
        finally:
            self._within = before

    @contextmanager
    def batch(self, batch: Batch) -> Iterator[None]:
        """Make seeds in a block depend on a batch, and draw numbers for its rows."""
        self._batch = batch
        try:
            with self.within("batch", batch.first):
                yield
        finally:
            self._batch = None

    def draw(self, shape: Sequence[int], sampler: Sampler) -> Tensor:
        """Return numbers for the present rows, drawn for all rows of their batch.

        Raises:
            ContractError: ``shape`` has another number of rows.
        """
        batch = self._batch
        if batch is None:  # in training, where every row is there
            return sampler(shape)
        if shape[0] != len(batch.places):
            raise ContractError(
                f"ctx.draw() is asked for {shape[0]} rows of a batch of {len(batch.places)}; draw "
                "for all rows, and select from them"
            )
        return sampler((batch.size, *shape[1:]))[batch.places]

    def seed(self, *dims: object) -> int:
        """Return a 63-bit seed from the cell's seed, the stage, the module and ``dims`` as text."""
        text = json.dumps([*self._seed_root, *self._within, *map(str, dims)])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def generator(self, *dims: object, device: torch.device | str = "cpu") -> torch.Generator:
        """Return a generator seeded with ``seed(*dims)``."""
        return torch.Generator(device).manual_seed(self.seed(*dims))

    def remaining(self) -> float:
        """Return the seconds left before the stage is stopped."""
        return max(0.0, self._deadline - time.monotonic())

    def log(self, message: str) -> None:
        """Write a line to the stage's log: standard output, which is never parsed."""
        print(message, flush=True)  # noqa: T201 - the stage's log is its standard output

    def count_steps(self, number: int) -> None:
        """Add gradient steps to ``steps``."""
        self.steps += int(number)

    def metric(self, name: str, value: float, step: int) -> None:
        """Append a point to ``curves.jsonl``; a value that is not finite becomes null."""
        number = float(value)
        point = {
            "name": name,
            "step": int(step),
            "value": number if math.isfinite(number) else None,
        }
        with self._curves.open("a", encoding="utf-8") as file:
            file.write(json.dumps(point) + "\n")
