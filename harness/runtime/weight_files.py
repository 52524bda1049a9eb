"""Readers of weights: tensors by name from every form of file, whose code never runs."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from harness.runtime.array_pickle import read_arrays
from harness.runtime.onnx_file import read_initializers

PREFIXES = ("module.", "_orig_mod.")
"""Prefixes of all names that wrappers leave: ``DataParallel`` and ``torch.compile``."""

READABLE = "safetensors, .npy, .npz, .onnx, a PyTorch checkpoint of tensors, or a pickle of arrays"

CHECKPOINT = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
"""Beginning of a checkpoint that is no zip file: the pickle of PyTorch's number."""

PICKLES = (b"\x80", b"(dp", b"}q", b"ccollections\nOrderedDict")
"""Beginnings of a pickle: any of protocol 2 and later, a dictionary of protocol 0 or 1."""

REFUSED = {
    b"\x89HDF": "HDF5, as Keras writes it; save its arrays as .npz",
    b"version https://git-lfs": "a Git LFS pointer; get the file that it stands for",
    b"<": "a web page or XML; get the file itself",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"\xfd7zXZ": "an xz archive; unpack it",
}
"""Beginning of a file → what it is, and what to do."""

NOT_READ = (
    *(AssertionError, AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError),
    *(OSError, pickle.UnpicklingError, struct.error, SafetensorError, zipfile.BadZipFile),
)
"""Errors of the readers on other bytes, as found with truncated and random files."""


def read_tensors(paths: Iterable[Path]) -> dict[str, Tensor]:
    """Return the tensors of the files of one network by name, on the CPU.

    Args:
        paths: the files. A ``.npy`` file is a tensor with the file's name; all others hold names.
            The prefix ``module.`` is left out where all names have it.

    Raises:
        ValueError: a file cannot be read as tensors alone, or two have a tensor of one name.
    """
    found: dict[str, Tensor] = {}
    for path in paths:
        tensors = read_file(path)
        if twice := found.keys() & tensors.keys():
            raise ValueError(f"{path.name} has {min(twice)}, which another file has, too")
        found |= tensors
    for prefix in PREFIXES:
        if found and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def read_file(path: Path) -> dict[str, Tensor]:
    """Return the tensors of one file by name, on the CPU.

    Raises:
        ValueError: it cannot be read as tensors alone.
    """
    reader = choose_reader(path)
    try:
        tensors = reader(path)
    except NOT_READ as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        what = f"{path.name} cannot be read as weights ({said})"
        raise ValueError(f"{what}; give {READABLE}") from error
    if not tensors:
        raise ValueError(f"{path.name} has no tensors; give {READABLE}")
    return tensors


def choose_reader(path: Path) -> Callable[[Path], dict[str, Tensor]]:
    """Return the reader of a file, by its first bytes; ONNX, which has none, by its suffix.

    Raises:
        ValueError: it is of a form that is known and not read.
    """
    with path.open("rb") as file:
        start = file.read(32)
    for beginning, what in REFUSED.items():
        if start.startswith(beginning):
            raise ValueError(f"{path.name} is {what}")
    if start.startswith(b"\x93NUMPY"):
        return read_npy
    if start.startswith(b"PK"):
        return read_zip
    if path.suffix == ".onnx":
        return read_onnx
    if start[8:9] == b"{":
        return load_file
    pickled = start.startswith(PICKLES) and not start.startswith(CHECKPOINT)
    return read_pickle if pickled else read_checkpoint


def read_npy(path: Path) -> dict[str, Tensor]:
    """Return the array of a ``.npy`` file under the file's name without its suffix."""
    return {path.stem: tensor_of(np.load(path, allow_pickle=False))}


def read_zip(path: Path) -> dict[str, Tensor]:
    """Return the arrays of a ``.npz`` file, or the tensors of a checkpoint, which is a zip, too."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names):
        raise ValueError("TorchScript holds code: save the network's state_dict()")
    if not all(name.endswith(".npy") for name in names):
        return read_checkpoint(path)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: tensor_of(arrays[name]) for name in arrays.files}


def read_onnx(path: Path) -> dict[str, Tensor]:
    """Return the initializers of an ONNX graph."""
    found = read_initializers(path.read_bytes())
    return {name: tensor_of(array) for name, array in found.items()}


def read_pickle(path: Path) -> dict[str, Tensor]:
    """Return the arrays of a pickled dictionary; the pickle calls nothing."""
    return {name: tensor_of(array) for name, array in read_arrays(path).items()}


def tensor_of(array: NDArray[np.generic]) -> Tensor:
    """Return an array as a tensor of its own, in the machine's byte order."""
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint of PyTorch; unpickling makes tensors and values alone.

    A state dict inside of other values, such as ``{"state_dict": …, "epoch": 9}``, keeps its own
    names. Of several state dicts, the tensors' names begin with the place of theirs.
    """
    try:
        with warnings.catch_warnings():  # of unusual pickles, which are then read or refused
            warnings.simplefilter("ignore")
            loaded: object = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except NOT_READ as error:  # torch's text is a page of advice on how to run the file's code
        raise ValueError("no checkpoint of tensors and plain values alone") from error
    states = dict(find_states(loaded))
    if len(states) == 1:
        return next(iter(states.values()))
    return {f"{at}{name}": one for at, state in states.items() for name, one in state.items()}


def find_states(value: object, at: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield each mapping or list that holds tensors, with its place.

    >>> place, state = next(find_states({"epoch": 9, "net": [{"w": torch.ones(1)}]}))
    >>> place, list(state)
    ('net.0.', ['w'])
    """
    items: list[tuple[object, object]] = []
    if isinstance(value, Mapping):
        items += value.items()
    elif isinstance(value, list | tuple):
        items += enumerate(value)
    own = {str(k): one.detach() for k, one in items if isinstance(one, Tensor)}
    if own:
        yield at, own
    for name, one in items:
        if isinstance(one, Mapping | list | tuple):
            yield from find_states(one, f"{at}{name}.")
