"""Reader of MATLAB files of version 5 to 7; version 7.3 (HDF5) is named as such."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.common.errors import UserError
from harness.common.text import one_line
from harness.datasets.base import Array, Ids

_HDF5 = b"\x89HDF\r\n\x1a\n"
_PROGRAM = Path(__file__).with_name("mat_process.py")
_SECONDS = 600
"""Limit of reading one file."""


def read_mat(blob: bytes, where: str, names: Sequence[str]) -> dict[str, Array]:
    """Read variables of a MATLAB file: numbers, or texts (``str``), of which cells become one each.

    Args:
        blob: content of the file.
        where: name of the file for messages.
        names: variables that it must have.

    Raises:
        UserError: the file is of version 7.3, damaged, or lacks a variable; or a variable holds
            something else.
    """
    if blob.startswith((b"MATLAB 7.3", _HDF5)) or blob[512:].startswith(_HDF5):
        what = "is a MATLAB file of version 7.3 (HDF5)"
        raise UserError(where, what, "save it with `save -v7` in MATLAB or Octave")
    try:
        # each thread of OpenBLAS would reserve some of the memory
        done = subprocess.run(
            [sys.executable, "-P", _PROGRAM, *names],
            input=blob,
            capture_output=True,
            timeout=_SECONDS,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        what = f"cannot be read in {_SECONDS} seconds"
        raise UserError(where, what, "give the original file") from error
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        kind, _, text = last.partition(": ")
        what = "is damaged" if done.returncode < 0 else f"cannot be read ({one_line(text or kind)})"
        raise UserError(where, what, "give the original file")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as arrays:
        found = {names[int(number)]: array for number, array in arrays.items()}
    for name in names:
        if name not in found:
            raise UserError(where, f"has no {name}", f"give a file with {', '.join(names)}")
    return {name: found[name] for name in names}


def numbers_of(found: Mapping[str, Array], where: str) -> list[Array]:
    """Return variables that must be arrays of numbers.

    Raises:
        UserError: one holds texts.
    """
    for name, value in found.items():
        if value.dtype.kind == "U":
            what = f"its {name} is not an array of numbers"
            raise UserError(where, what, f"give a file with {', '.join(found)}")
    return list(found.values())


def texts_of(value: Array, where: str) -> list[str]:
    """Return the entries of a variable as texts, by column as MATLAB counts.

    Raises:
        UserError: it holds fractions.
    """
    flat = value.ravel(order="F")
    if flat.dtype.kind == "U":
        return [str(text).strip() for text in flat]
    if flat.dtype.kind == "f" and not (np.isfinite(flat) & (flat == np.rint(flat))).all():
        what = "holds more than whole numbers and texts"
        raise UserError(where, what, "give the original file")
    return [str(int(number)) for number in flat.tolist()]


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
