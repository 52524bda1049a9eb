"""Values of arrays: checked, then converted row by row to what is stored."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError

Range = Literal["bytes", "unit"]

_BLOCK = 1 << 24
"""Values that are looked at together: an array may be a map of a large file."""


def check_range(x: NDArray[Any], where: str, values: Range) -> None:
    """Check that values are those that a manifest says.

    Args:
        x: inputs ``[N, ...]``.
        where: name of their file for messages.
        values: ``bytes``: whole numbers of 0 to 255; ``unit``: 0 to 1.

    Raises:
        UserError: others are there.
    """
    if x.dtype == np.uint8 and values == "bytes":
        return
    if x.dtype.kind in "iub" and values == "unit":
        fix = "give values: bytes, or divide by 255"
        raise UserError(where, f"holds {x.dtype} values, not fractions of 0 to 1", fix)
    low, high, whole = np.inf, -np.inf, True
    step = max(1, _BLOCK // max(1, x[:1].size))
    for start in range(0, len(x), step):
        block = x[start : start + step]
        if not np.isfinite(block).all():
            raise UserError(where, "holds values that are not finite", "give numbers alone")
        low, high = min(low, block.min()), max(high, block.max())
        whole = whole and (block.dtype.kind != "f" or bool((block == np.rint(block)).all()))
    most = 255 if values == "bytes" else 1
    if len(x) and (low < 0 or high > most):
        fix = f"give values of 0 to {most}, or change values"
        raise UserError(where, f"holds values of {low:g} to {high:g}", fix)
    if not whole and values == "bytes":
        raise UserError(where, "holds fractions", "give values: unit if they are of 0 to 1")


def to_pixels(x: NDArray[Any], values: Range) -> NDArray[np.uint8]:
    """Return checked values as uint8 pixels; fractions are rounded to the nearest of 255."""
    return np.rint(x * 255.0).astype(np.uint8) if values == "unit" else x.astype(np.uint8)


def to_float(x: NDArray[Any], values: Range) -> NDArray[np.float32]:
    """Return checked values as float32 features of 0 to 1."""
    return (x / np.float32(255) if values == "bytes" else x).astype(np.float32)
