"""Training pictures that Admix adds to inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.runtime.contracts import Data, NotApplicable, as_input

FILE = "pool.safetensors"


@dataclass(frozen=True)
class Pool:
    """Pictures of several classes.

    Attributes:
        pictures: uint8 ``[P, C, H, W]``, on the CPU.
        y: their classes, int64 ``[P]``, on the device of the inputs.
    """

    pictures: Tensor
    y: Tensor

    @classmethod
    def of(cls, train: Data, rows: Tensor) -> Pool:
        """Return the pool of some examples of a set."""
        x, y = train.take(rows)
        return cls((x * 255).round().to(torch.uint8).cpu(), y.cpu())

    @classmethod
    def load(cls, path: Path, device: torch.device) -> Pool:
        """Read a pool.

        Raises:
            NotApplicable: there is none, since the attack could not learn.
        """
        if not path.exists():
            raise NotApplicable("Admix adds training pictures, and the hook learn was not called")
        found = load_file(path)
        return cls(found["pictures"], found["y"].to(device))

    def tensors(self) -> dict[str, Tensor]:
        """Return what ``load`` reads, by name."""
        return {"pictures": self.pictures, "y": self.y}

    def others(self, y: Tensor, chance: Tensor) -> Tensor:
        """Return a picture of another class for each row, float32 in [0, 1] ``[B, C, H, W]``.

        Args:
            y: classes of the rows, int64 ``[B]``.
            chance: uniform in [0, 1), ``[B]``; it alone chooses among the pictures of the row.

        Raises:
            NotApplicable: all pictures are of one row's class.
        """
        allowed = self.y != y[:, None]
        number = allowed.sum(dim=1)
        if not bool(number.all()):
            raise NotApplicable("Admix adds pictures of other classes, and there are none")
        # rounding in float32 may reach the number itself
        place = torch.minimum((chance.to(y.device) * number).long(), number - 1)
        chosen = (allowed.cumsum(dim=1) <= place[:, None]).sum(dim=1)
        return as_input(self.pictures[chosen.cpu()], y.device)
