"""Arrays and JSON on disk, for the host side, which never imports torch."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def save_array(path: Path, array: Array) -> None:
    """Save a ``.npy``; parents are made; never pickles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def load_array(path: Path) -> Array:
    """Memory-map a ``.npy`` for reading; refuses pickles and, unlike ``np.load``, archives."""
    array: Array = np.lib.format.open_memmap(path, mode="r")
    return array


def write_json(path: Path, value: object) -> None:
    """Write JSON aside and rename; refuses NaN and infinities."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(value, allow_nan=False, sort_keys=True, indent=1), encoding="utf-8")
    os.replace(aside, path)


def read_json(path: Path) -> Any:  # noqa: ANN401
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
