"""Arrays, weights and small JSON on disk: written aside, renamed, never pickled."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file
from torch import Tensor

from harness.runtime.contracts import ContractError

Array = NDArray[Any]


def save_array(path: Path, array: Array | Tensor) -> None:
    """Save a ``.npy``; parents are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    value = array.detach().cpu().numpy() if isinstance(array, Tensor) else array
    np.save(path, np.ascontiguousarray(value), allow_pickle=False)


def load_array(path: Path) -> Array:
    """Memory-map a ``.npy``; copy-on-write, so that nobody can change the file through it."""
    array: Array = np.load(path, mmap_mode="c", allow_pickle=False)
    return array


def load_tensor(path: Path) -> Tensor:
    """A tensor over the memory-mapped file (private pages: the file cannot change)."""
    array = load_array(path)
    return torch.from_numpy(array) if array.size else torch.from_numpy(np.array(array))


def save_weights(path: Path, network: torch.nn.Module) -> None:
    """Save a state dict as safetensors.

    safetensors refuses shared and channels-last tensors, hence contiguous copies.
    """
    state = {name: value.detach().cpu().contiguous().clone() for name, value in
             network.state_dict().items()}  # fmt: skip
    bad = [name for name, value in state.items() if not bool(torch.isfinite(value.float()).all())]
    if bad:
        raise ContractError(f"weights are not finite after the stage: {', '.join(bad[:3])}")
    save_file(state, path)


def load_weights(path: Path, network: torch.nn.Module) -> None:
    """Load safetensors strictly: a missing, unknown or misshapen tensor is an error."""
    try:
        network.load_state_dict(load_tensors(path), strict=True)
    except RuntimeError as error:
        raise ContractError(
            f"stored weights do not fit the network that build() made: {error}"
        ) from error


def write_json(path: Path, value: object) -> None:
    """Write JSON aside and rename; refuses NaN and infinities."""
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(value, allow_nan=False, sort_keys=True, indent=1), encoding="utf-8")
    os.replace(aside, path)


def read_json(path: Path) -> Any:  # noqa: ANN401
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
