"""Checks of what an attack sends a network, so that no honest network can fail on it.

Otherwise an attack could make a network's process end, and the blame would be the network's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.runtime.contracts import ContractError, Spec
from harness.runtime.tasks import TASKS
from harness.runtime.worker.network_link import bad_rows
from harness.runtime.worker.network_process import ASKS

TENSORS = {"query": 2, "show": 1}
"""Number of tensors in requests that are none of the network's."""


def check_request(kind: str, tensors: Sequence[Tensor], spec: Spec, most: int) -> None:
    """Check number, types and shapes of a request's tensors; values are not read.

    Args:
        kind: request.
        tensors: what it brings.
        spec: description of the data set.
        most: largest number of rows.

    Raises:
        ContractError: they are wrong.
    """
    wanted = TENSORS.get(kind) or ASKS[kind].tensors
    if len(tensors) != wanted:
        raise ContractError(f"a request with {len(tensors)} tensors, not {wanted}")
    x = tensors[0]
    if x.dtype != torch.float32 or not x.ndim:
        name = str(x.dtype).removeprefix("torch.")
        raise ContractError(f"inputs are float32 [B, …], got {name} {list(x.shape)}")
    expected: tuple[tuple[int, ...], ...] = ((len(x), *spec.shape),)
    if kind == "training_loss_of":
        expected = TASKS[spec.task].shapes(torch.empty(expected[0], device="meta"), spec)
    if tuple(x.shape) not in expected:
        raise ContractError(f"expected inputs {list(expected[0])}, got {list(x.shape)}")
    if not 0 < len(x) <= most:
        raise ContractError(f"a request about {len(x)} inputs; it may be about 1 to {most}")


def check_values(kind: str, tensors: Sequence[Tensor], spec: Spec) -> None:
    """Check the values of a request's tensors, which nobody else can change any more.

    Raises:
        ContractError: inputs are not finite, or labels do not exist.
    """
    if kind != "training_loss_of" and (bad := bad_rows(tensors[0])):
        raise ContractError(f"inputs that are not finite, in {bad} of {len(tensors[0])} rows")
    if kind.startswith("training_loss"):
        check_labels(tensors[1], len(tensors[0]), spec)


def check_labels(y: Tensor, rows: int, spec: Spec) -> None:
    """Check labels for a number of inputs or outputs.

    Raises:
        ContractError: they have another type or shape, or name what does not exist.
    """
    if spec.task == "ranking":  # comparisons: rows of items, label, attribute
        arity = spec.arity or 2
        fits = y.dtype == torch.int64 and y.ndim == 2 and y.shape[1] == arity + 2 and len(y) > 0
        limits = (*[rows] * arity, 2, spec.outputs) if arity == 2 else (*[rows] * arity, 2)
        fits = fits and all(
            bool(((column >= (-1 if n == arity else 0)) & (column < limit)).all())
            for n, (column, limit) in enumerate(zip(y.T, limits, strict=False))
        )
        wanted = f"int64 [B, {arity + 2}], comparisons of the request's items"
    else:
        pixels = spec.shape[1:] if spec.task == "segmentation" else ()
        types = (torch.int64, torch.uint8) if pixels else (torch.int64,)
        fits = y.dtype in types and tuple(y.shape) == (rows, *pixels)
        if fits:
            known = (y >= 0) & (y < spec.outputs)
            fits = bool((known if spec.void is None else known | (y == spec.void)).all())
        wanted = f"int64 {[rows, *pixels]}, below {spec.outputs}"
    if not fits:
        found = f"{str(y.dtype).removeprefix('torch.')} {list(y.shape)}"
        raise ContractError(f"labels are {wanted}; got {found}, or others")
