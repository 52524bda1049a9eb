"""Reader of pickles that hold NumPy arrays by name, made with none of the pickle's own calls.

A pickle is a program: it names functions and calls them. Here each name that stands for a part of
an array is a class below, which notes what it is given; every other name is refused before any
call. The arrays are made of the noted bytes, so that not even NumPy reads what the file says.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TYPES = ("b1", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8")
"""Types of numbers, as NumPy writes them."""


class StoredType:
    """Type of numbers: ``numpy.dtype`` in a pickle."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in TYPES:
            raise ValueError(f"an array of {code!r}; expected numbers")
        self.dtype = np.dtype(str(code))

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(">" if state[1] == ">" else "<")


class StoredArray:
    """Array, whose shape, type and bytes follow: ``_reconstruct`` in a pickle."""

    array: NDArray[np.generic] | None = None

    def __init__(self, *_: object) -> None:
        """Take the class and the empty shape, which are always the same."""

    def __setstate__(self, state: tuple[object, ...]) -> None:
        shape, kind, columns, raw = state[-4:]
        self.fill(raw, kind, shape, "F" if columns else "C")

    def fill(self, raw: object, kind: object, shape: object, order: object = "C") -> None:
        """Make the array from its bytes, which Python 2 stores as text."""
        if not isinstance(kind, StoredType) or not isinstance(raw, str | bytes | bytearray):
            raise ValueError("an array without bytes")
        data = raw.encode("latin-1") if isinstance(raw, str) else raw
        self.array = np.frombuffer(data, kind.dtype).reshape(shape, order=order)  # type: ignore[call-overload]


class StoredBuffer(StoredArray):
    """Array with its bytes: ``_frombuffer`` in a pickle of protocol 5."""

    def __init__(self, raw: object, kind: object, shape: object, order: object, *_: object) -> None:
        self.fill(raw, kind, shape, order)


class StoredNumber(StoredArray):
    """Single number with a type: ``scalar`` in a pickle."""

    def __init__(self, kind: object, raw: object) -> None:
        self.fill(raw, kind, ())


ADMITTED: dict[str, object] = {
    "numpy.ndarray": StoredArray,
    "numpy.dtype": StoredType,
    "numpy.core.multiarray._reconstruct": StoredArray,
    "numpy.core.multiarray.scalar": StoredNumber,
    "numpy.core.numeric._frombuffer": StoredBuffer,
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": str.encode,  # bytes, as Python 3 writes them for Python 2
}
"""Name in a pickle → what stands for it. None can be changed by a pickle: all are built in or have
a ``__setstate__``, so that nothing else is set on them."""


class ArrayUnpickler(pickle.Unpickler):
    """Unpickler of plain values and of the parts of arrays."""

    def find_class(self, module: str, name: str) -> object:
        """Return what stands for a name; NumPy 2 has another name for its core."""
        known = ADMITTED.get(f"{module.replace('numpy._core', 'numpy.core')}.{name}")
        if known is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no part of arrays")
        return known


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a pickled dictionary by name; read-only, in the byte order of the file.

    Raises:
        ValueError: it holds other values, or arrays of other values than numbers.
        pickle.UnpicklingError: it asks for anything that is no part of an array, or is torn.
    """
    data = path.read_bytes()
    for code, argument, _ in pickletools.genops(data):
        # the unpickler would make a list of that length
        if code.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > len(data):
            raise ValueError("a pickle with more marks than bytes")
    loaded: object = ArrayUnpickler(io.BytesIO(data), encoding="latin-1").load()
    if not isinstance(loaded, dict):
        raise ValueError(f"a pickled {type(loaded).__name__}; expected names with arrays")
    arrays = {}
    for name, value in loaded.items():
        if not isinstance(value, StoredArray) or value.array is None:
            raise ValueError(f"{name!r} is no array but a {type(value).__name__}")
        arrays[str(name)] = value.array
    return arrays
