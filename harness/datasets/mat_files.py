"""Reader of MATLAB files of version 4 to 7; version 7.3 (HDF5) is named as such."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from harness.common.errors import UserError
from harness.common.text import one_line
from harness.datasets.archives import refuse_link
from harness.datasets.base import Array, Ids

_DAMAGE = (OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError,
           MemoryError, NotImplementedError, RuntimeError, struct.error, zlib.error)  # fmt: skip
"""What scipy's parser raises for damaged files (its own ``MatReadError`` is an ``Exception``)."""
_HDF5 = b"\x89HDF\r\n\x1a\n"


def read_mat(path: Path, names: Iterable[str]) -> dict[str, Array]:
    """Read variables of a MATLAB file as arrays of numbers.

    Args:
        path: the file.
        names: variables that it must have.

    Raises:
        UserError: the file is not there, a link, of version 7.3, damaged, or lacks a variable; or a
            variable is not an array of numbers.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    names = list(names)
    if not path.is_file():
        raise UserError(str(path.parent), f"has no {path.name}", f"give a folder with {path.name}")
    refuse_link(path)
    with path.open("rb") as file:
        head = file.read(1024)
    if head.startswith((b"MATLAB 7.3", _HDF5)) or head[512:].startswith(_HDF5):
        what = "is a MATLAB file of version 7.3 (HDF5)"
        raise UserError(str(path), what, "save it with `save -v7` in MATLAB or Octave")
    try:
        found = loadmat(path, variable_names=names)
    except (MatReadError, *_DAMAGE) as error:
        reason = one_line(str(error)) or type(error).__name__
        what = f"cannot be read ({reason})"
        raise UserError(str(path), what, "give the original file") from error
    for name in names:
        value = found.get(name)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
            what = f"has no {name}" if value is None else f"its {name} is not an array of numbers"
            raise UserError(str(path), what, f"give a file with {', '.join(names)}")
    return {name: found[name] for name in names}


def labels_from_one(values: Array, classes: int, where: str) -> Ids:
    """Return labels that a file counts from 1, counted from 0.

    Args:
        values: labels in the file, of any shape.
        classes: number of classes.
        where: name of the file and the variable for messages.

    Raises:
        UserError: a label is not a whole number of 1 to ``classes``; 0 would become −1, which
            numpy takes for the last class.

    >>> labels_from_one(np.array([1, 3]), 3, "a.mat").tolist()
    [0, 2]
    """
    wrong = values[~np.isin(values, np.arange(1, classes + 1))]
    if wrong.size:
        count = f"{wrong.size:,} of {values.size:,}"
        what = f"{count} labels are not whole numbers of 1 to {classes}, {wrong[0]} first"
        raise UserError(where, what, "count classes from 1")
    return values.astype(np.int64) - 1
