"""What surrounds the call of a hook: its time, its inputs, the form of its outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from harness.runtime.contracts import (
    ContractError,
    Data,
    Edits,
    Keep,
    OutputError,
    Overlay,
    Spec,
)
from harness.runtime.worker.job import Job
from harness.runtime.worker.write_watch import WriteWatch


@contextmanager
def hook_time(job: Job, role: str) -> Iterator[None]:
    """Add the time of a block to the time of the hooks.

    Args:
        job: job of the stage.
        role: role of the module whose hook is called; it is responsible for what the hook returns.
    """
    job.called = role
    begun = time.perf_counter()
    try:
        yield
    finally:
        job.hook_seconds += time.perf_counter() - begun


@contextmanager
def unchanged(*sets: Data) -> Iterator[None]:
    """Check that a block changes no tensor of the given data sets in place.

    Raises:
        ContractError: a tensor has changed.
    """
    watch = WriteWatch([tensor for one in sets for tensor in tensors_of(one)])
    yield
    if watch.written:
        raise ContractError(
            "the hook changed the data it was given in place; work on a copy (tensor.clone())"
        )


def tensors_of(data: Data) -> Iterator[Tensor]:
    """Yield the tensors that a data set holds."""
    held = [data.raw, data.uncropped, data.y, data.ids]
    yield from (tensor for tensor in held if tensor is not None)
    if isinstance(data.overlay, Overlay):
        yield from data.overlay.tensors().values()


def check_tensor(
    value: object,
    name: str,
    shape: tuple[int, ...],
    dtypes: tuple[torch.dtype, ...] | None,
    *,
    finite: bool = True,
) -> Tensor:
    """Check what a hook returned, and return a copy of it on the CPU.

    Args:
        value: returned value.
        name: name of the value in messages.
        shape: expected shape.
        dtypes: allowed types, or ``None`` for any.
        finite: whether all values must be finite.

    Raises:
        OutputError: the value is no tensor, or differs in shape or type, or is not finite.
    """
    if not isinstance(value, Tensor):
        raise OutputError(f"{name}: expected a Tensor, got {type(value).__name__}")
    if tuple(value.shape) != tuple(shape):
        raise OutputError(f"{name}: expected shape {list(shape)}, got {list(value.shape)}")
    if dtypes and value.dtype not in dtypes:
        names = " or ".join(str(d).removeprefix("torch.") for d in dtypes)
        raise OutputError(
            f"{name}: expected {names}, got {str(value.dtype).removeprefix('torch.')}"
        )
    if finite and value.is_floating_point() and not bool(torch.isfinite(value).all()):
        bad = int((~torch.isfinite(value)).flatten(1).any(dim=1).sum())
        raise OutputError(f"{name}: NaN or infinity in {bad} of {len(value)} rows")
    # a module may keep what it returned and write into it later
    return value.detach().to("cpu", copy=True)


def check_edits(edits: object, train_set: Data) -> Edits:
    """Check the form of edits, and return them on the CPU; the judge checks the budget.

    Args:
        edits: what ``poison`` returned.
        train_set: training set that it was given.

    Raises:
        OutputError: a tensor has the wrong shape or type, or is not finite.
    """
    if not isinstance(edits, Edits):
        raise OutputError(f"poison() returned {type(edits).__name__}, expected contracts.Edits")
    ids = check_tensor(edits.ids, "Edits.ids", (len(edits.ids),), (torch.int64,))
    x = y = None
    if edits.x is not None:
        shape = (len(ids), *train_set.raw.shape[1:])
        x = check_tensor(edits.x, "Edits.x", shape, (torch.float32,))
    if edits.y is not None:
        types = (torch.int64, torch.uint8)
        y = check_tensor(edits.y, "Edits.y", (len(ids), *train_set.y.shape[1:]), types)
    return Edits(ids, x, y, check_overlay(edits, train_set.spec))


def check_overlay(edits: Edits, spec: Spec) -> Overlay | None:
    """Check the form of an edit's overlay, and return it on the CPU.

    Raises:
        OutputError: it stands beside new inputs or in ranking, a tensor has the wrong shape or
            type or is not finite, or the patch leaves the picture.
    """
    overlay = edits.overlay
    if overlay is None:
        return None
    if not isinstance(overlay, Overlay):
        raise OutputError(f"Edits.overlay: expected Overlay, got {type(overlay).__name__}")
    if spec.arity is not None:
        raise OutputError("Edits.overlay: in ranking many comparisons share an item")
    if edits.x is not None:
        raise OutputError("Edits.overlay beside Edits.x: an example is changed in one way only")
    count, size = len(overlay.ids), tuple(overlay.patch.shape)
    forms = {
        "ids": ((count,), torch.int64),
        "patch": (size, torch.float32),
        "mask": (size, torch.float32),
        "places": ((count, 2), torch.int64),
    }
    checked = Overlay(
        **{
            name: check_tensor(tensor, f"Overlay.{name}", forms[name][0], (forms[name][1],))
            for name, tensor in overlay.tensors().items()
        }
    )
    try:
        checked.check_inside(spec.shape)
    except ValueError as error:
        raise OutputError(f"Edits.overlay: {error}") from error
    return checked


def check_keep(keep: object, train_set: Data) -> Keep:
    """Check the form of a sanitizer's answer, and return it on the CPU.

    Args:
        keep: what ``sanitize`` returned.
        train_set: training set that it was given.

    Raises:
        OutputError: a tensor has the wrong shape or type, or no example is kept.
    """
    if not isinstance(keep, Keep):
        raise OutputError(f"sanitize() returned {type(keep).__name__}, expected contracts.Keep")
    mask = check_tensor(keep.mask, "Keep.mask", (len(train_set),), (torch.bool,))
    if not bool(mask.any()):
        raise OutputError("sanitize() kept no example; nothing can be trained")
    if keep.y is None:
        return Keep(mask)
    return Keep(
        mask, check_tensor(keep.y, "Keep.y", tuple(train_set.y.shape), (train_set.y.dtype,))
    )
