"""Checkpoints of other projects: pickles, of which tensors are read and no code is run."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import torch

_NO_CHECKPOINT = (
    *(AssertionError, AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError),
    *(OSError, pickle.UnpicklingError, struct.error),
)
"""What ``torch.load`` raises on other bytes, as found with torn and random ones."""


def load_checkpoint(path: Path) -> object:
    """What a checkpoint of tensors and plain values holds, on the CPU.

    Raises:
        ValueError: the file is none, or would run code.
    """
    try:
        loaded: object = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except _NO_CHECKPOINT as error:
        raise ValueError(f"{path.name} is no checkpoint of tensors alone") from error
    return loaded
