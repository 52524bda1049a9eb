"""Program that reads a MATLAB file for ``mat_files``, in a process of its own.

On some damaged files scipy's reader, which is in C, ends the process. Takes the file as standard
input and names of variables as arguments; writes an ``.npz`` of those that are there.
"""

from __future__ import annotations

import io
import resource
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

MEMORY = 1 << 32
"""Limit of the process in bytes: a packed variable may unpack to all of the machine's."""


def main() -> None:
    """Read the file; the last line of an exception is the reason that it cannot be read."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    names = sys.argv[1:]
    file: Any = io.BytesIO(sys.stdin.buffer.read())  # its stubs know names of files alone
    found = loadmat(file, variable_names=names)
    # by number, as a variable may have the name of an argument
    arrays = {str(n): _plain(found[name]) for n, name in enumerate(names) if name in found}
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    sys.stdout.buffer.write(out.getvalue())


def _plain(value: object) -> NDArray[Any]:
    """Return a variable as numbers or texts: cells become texts.

    Raises:
        ValueError: it holds something else.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biufUO":
        raise ValueError("a variable holds more than real numbers, texts, or cells of them")
    if value.dtype.kind != "O":
        return value
    texts = [_text(cell) for cell in value.ravel(order="F")]
    return np.array(texts, dtype=np.str_).reshape(value.shape, order="F")


def _text(cell: object) -> str:
    """Return the text of a cell; of a whole number, its digits."""
    plain = isinstance(cell, np.ndarray) and cell.dtype.kind in "biufU" and cell.size < 2
    if not isinstance(cell, np.ndarray) or not plain or (not cell.size and cell.dtype.kind != "U"):
        raise ValueError("a cell holds more than a real number or a text")
    return str(cell.item()).removesuffix(".0") if cell.size else ""


if __name__ == "__main__":
    main()
