"""Layout ``arrays``: ``.npy`` files, or one ``.npz``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.config.dataset_fields import Part
from harness.config.dataset_layouts import Arrays
from harness.datasets.examples import Found, Source
from harness.datasets.files.named_files import digest_of, find_named, find_pairs
from harness.datasets.files.numpy_files import LARGEST, read_npy, read_npz
from harness.datasets.layouts.array_rows import Rows, find_rows
from harness.datasets.layouts.array_values import check_range, to_float, to_pixels

AXES = {
    "nchw": "[number, channel, height, width]",
    "nhwc": "[number, height, width, channel]",
    "nhw": "[number, height, width]",
    "nf": "[number, feature]",
}
"""Order in a manifest → axes in words."""


def find(layout: Arrays, source: Source) -> Found | None:
    """Return the rows of the splits whose arrays are there; ``None`` without any."""
    read = _read_files if layout.archive is None else _read_archive
    found, files = read(layout, source)
    parts: dict[Part, Rows] = {}
    for part, rows in found.items():
        with source.mistakes.gather():
            parts[part] = Rows(_with_axes(layout, rows), rows.y, rows.x_where, rows.y_where)
            check_range(rows.x, rows.x_where, layout.values)
    convert = to_float if layout.order == "nf" else to_pixels
    return find_rows(
        source,
        parts,
        files,
        label_from=layout.label_from,
        convert=lambda values: convert(values, layout.values),
    )


def _read_files(layout: Arrays, source: Source) -> tuple[dict[Part, Rows], dict[str, str]]:
    parts: dict[Part, Rows] = {}
    files: dict[str, str] = {}
    pairs = find_pairs(source, layout, layout.files, largest=LARGEST)
    for part, (inputs, labels) in pairs.items():
        with source.mistakes.gather():
            x, y = read_npy(inputs), read_npy(labels)
            parts[part] = Rows(x, y, inputs.where, labels.where)
            files |= digest_of(inputs, labels)
    return parts, files


def _read_archive(layout: Arrays, source: Source) -> tuple[dict[Part, Rows], dict[str, str]]:
    assert layout.archive is not None  # by its caller
    parts: dict[Part, Rows] = {}
    file = find_named(source, layout, {layout.archive}, largest=LARGEST).get(layout.archive)
    if file is None:
        return {}, {}
    with source.mistakes.gather():
        keys = [key for pair in layout.files.values() for key in (pair.x, pair.y)]
        arrays = read_npz(file, keys)
        for part, pair in layout.files.items():
            match [key for key in (pair.x, pair.y) if key not in arrays]:
                case []:
                    wheres = (f"{file.where}: {key}" for key in (pair.x, pair.y))
                    parts[part] = Rows(arrays[pair.x], arrays[pair.y], *wheres)
                case [missing]:
                    what = f"has no {missing}, which belongs to {part}"
                    source.mistakes.add(UserError(file.where, what, "add it"))
    return parts, digest_of(file)


def _with_axes(layout: Arrays, rows: Rows) -> NDArray[Any]:
    """Return the inputs as ``[N, C, H, W]`` or ``[N, F]``."""
    x = rows.x
    if x.ndim != len(layout.order):
        what = f"has shape {x.shape}, expected {AXES[layout.order]}"
        raise UserError(rows.x_where, what, "give such an array, or change order")
    match layout.order:
        case "nhwc":
            return np.moveaxis(x, 3, 1)
        case "nhw":
            return x[:, np.newaxis]
    return x
