"""Arrays and JSON on disk, for the host side, which never imports torch."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def save_array(path: Path, array: Array) -> None:
    """Save an array as ``.npy`` without pickles; make missing parent folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def load_array(path: Path) -> Array:
    """Memory-map a ``.npy`` for reading; refuse pickles and, unlike ``np.load``, archives."""
    array: Array = np.lib.format.open_memmap(path, mode="r")
    return array


def write_json(path: Path, value: object) -> None:
    """Write readable JSON with sorted keys, whole or not at all; refuse NaN and infinities."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(value, allow_nan=False, sort_keys=True, indent=1), encoding="utf-8")
    os.replace(aside, path)


def read_json(path: Path) -> Any:  # noqa: ANN401
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def remove_tree(path: Path) -> None:
    """Remove a file, a link or a folder, however deep, as far as it can be removed.

    ``shutil.rmtree`` recurses before Python 3.13, and a path may be longer than the system takes.
    So each folder is moved up, right into ``path``, before it is read. A process that is killed
    in between leaves nothing outside ``path``.
    """
    with contextlib.suppress(OSError):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
            return
        unique, pending = uuid.uuid4().hex, [path]
        for folder in pending:  # the loop appends to it
            folder.chmod(0o700)
            with os.scandir(folder) as found:
                entries = list(found)
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path / f"{unique}~{len(pending)}")
                    os.rename(entry.path, pending[-1])
                else:
                    os.unlink(entry.path)
            if folder != path:
                folder.rmdir()
        path.rmdir()
