"""Reader for PyTorch checkpoints of other projects: tensors are read, pickled code never runs."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import torch

_NO_CHECKPOINT = (
    *(AssertionError, AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError),
    *(OSError, pickle.UnpicklingError, struct.error),
)
"""Errors of ``torch.load`` on other bytes, as found with truncated and random files."""


def load_checkpoint(path: Path) -> object:
    """Return the contents of a checkpoint of tensors and plain values, on the CPU.

    Raises:
        ValueError: the file is no checkpoint, or reading it would run code.
    """
    try:
        loaded: object = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except _NO_CHECKPOINT as error:
        raise ValueError(f"{path.name} is no checkpoint of tensors alone") from error
    return loaded
