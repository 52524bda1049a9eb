"""Layout ``idx``: files of the format of MNIST.

An IDX file holds 0, 0, the type of its values (8: bytes), the number of dimensions, each length as
a big-endian uint32, and the values.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.config.dataset_fields import Part
from harness.config.dataset_layouts import Idx
from harness.datasets.examples import Found, Source
from harness.datasets.files.gzipped import read_unpacked
from harness.datasets.files.named_files import digest_of, find_pairs
from harness.datasets.files.source_files import SourceFile
from harness.datasets.layouts.array_rows import Rows, find_rows

BYTES = b"\0\0\x08"
"""Start of a file of bytes."""


def find(layout: Idx, source: Source) -> Found | None:
    """Return the pictures of the splits whose files are there; ``None`` without any."""
    parts: dict[Part, Rows] = {}
    files: dict[str, str] = {}
    for part, (pictures, labels) in find_pairs(source, layout, layout.files).items():
        with source.mistakes.gather():
            x, y = read_idx(pictures), read_idx(labels)
            if x.ndim != 3:
                what = f"has shape {x.shape}, expected pictures [number, height, width]"
                raise UserError(pictures.where, what, "give the file of the images")
            parts[part] = Rows(x[:, np.newaxis], y, pictures.where, labels.where)
            files |= digest_of(pictures, labels)
    return find_rows(source, parts, files, label_from=layout.label_from)


def read_idx(file: SourceFile) -> NDArray[np.uint8]:
    """Return the array of an IDX file of bytes.

    Raises:
        UserError: it is none, or not whole.
    """
    raw = read_unpacked(file)
    if len(raw) < 4 or not raw.startswith(BYTES):
        raise UserError(file.where, "is not an IDX file of bytes", "give the original file")
    start = 4 + 4 * raw[3]
    shape = tuple(np.frombuffer(raw[4 : min(start, len(raw) // 4 * 4)], dtype=">u4").tolist())
    count = max(0, len(raw) - start)
    if len(shape) != raw[3] or count != math.prod(shape):
        what = f"says that it holds {shape} bytes, but {count:,} are there"
        fix = "give the original file: this one is truncated or damaged"
        raise UserError(file.where, what, fix)
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)
