"""Arrays, weights and JSON files, read and written without pickles."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
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
    """Save a ``.npy`` file and make its parent folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    value = array.detach().cpu().numpy() if isinstance(array, Tensor) else array
    np.save(path, np.ascontiguousarray(value), allow_pickle=False)


def save_parts(path: Path, parts: Iterable[Tensor], *lengths: int) -> None:
    """Save tensors as one ``.npy`` file, each as it comes: the whole is never in memory.

    Args:
        path: file to write; missing parent folders are made.
        parts: tensors of equal type and shape but for the first dimension; at least one.
        lengths: leading dimensions of the whole, whose product is the number of all rows.

    Raises:
        ValueError: there is no tensor, so that nobody knows the shape.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for part in parts:
            array = np.ascontiguousarray(part.detach().cpu().numpy())
            if file.tell() == 0:
                descr = np.lib.format.dtype_to_descr(array.dtype)
                shape = (*lengths, *array.shape[1:])
                header = {"descr": descr, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(array.data)
        if file.tell() == 0:
            raise ValueError(f"{path.name}: nothing to save")


def load_array(path: Path) -> Array:
    """Return a memory-mapped ``.npy`` file, copy-on-write: changes do not reach the file."""
    array: Array = np.load(path, mmap_mode="c", allow_pickle=False)
    return array


def load_tensor(path: Path) -> Tensor:
    """Return a tensor over a memory-mapped ``.npy`` file; changes do not reach the file."""
    array = load_array(path)
    return torch.from_numpy(array) if array.size else torch.from_numpy(np.array(array))


def save_weights(path: Path, network: torch.nn.Module) -> None:
    """Save the state of a network as safetensors.

    safetensors refuses shared and channels-last tensors, so contiguous copies are saved.

    Raises:
        ContractError: a tensor has a value that is not finite.
    """
    state = {name: value.detach().cpu().contiguous().clone() for name, value in
             network.state_dict().items()}  # fmt: skip
    bad = [name for name, value in state.items() if not bool(torch.isfinite(value.float()).all())]
    if bad:
        raise ContractError(f"weights are not finite after the stage: {', '.join(bad[:3])}")
    save_file(state, path)


def load_weights(path: Path, network: torch.nn.Module) -> None:
    """Load safetensors into a network.

    Raises:
        ContractError: a tensor is missing, unknown or of another shape.
    """
    try:
        network.load_state_dict(load_tensors(path), strict=True)
    except RuntimeError as error:
        # torch's first line names the class alone
        said = " ".join(str(error).split())
        raise ContractError(
            f"stored weights do not fit the network that build() made: {said}"
        ) from error


def load_all_but_head(path: Path, network: torch.nn.Module, head: str) -> None:
    """Load safetensors into a network, without the tensors of its head.

    Args:
        path: file with the tensors.
        network: network to change.
        head: module path of the last layer.

    Raises:
        ContractError: outside the head, a tensor is missing, unknown or of another shape.
    """
    stored = load_tensors(path)
    own = network.state_dict()
    wrong = [
        name
        for name in own.keys() | stored.keys()
        if not name.startswith(head + ".")
        and (name not in own or name not in stored or own[name].shape != stored[name].shape)
    ]
    if wrong:
        raise ContractError(
            "the public or delivered network differs from the student outside its head: "
            f"{', '.join(sorted(wrong)[:3])}"
        )
    own |= {name: value for name, value in stored.items() if not name.startswith(head + ".")}
    network.load_state_dict(own)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file aside and rename it.

    Raises:
        ValueError: a number is not finite.
    """
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(value, allow_nan=False, sort_keys=True, indent=1), encoding="utf-8")
    os.replace(aside, path)
