"""Writer of pairs: decodes, checks and resizes images and class maps, and stores them row by row.

The source is walked a second time for the pixels, so that only one file is in memory at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from harness.common.errors import UserError
from harness.common.progress import Meter
from harness.datasets.cache import file_sha256, open_row_writer
from harness.datasets.image_files import open_image
from harness.datasets.segmentation.pairs import PairFile, PairLayout, Pixels, walk_files

_MODES = {"x": "RGB", "y": "L"}
_MODE_NAMES = {"RGB": "8-bit RGB", "L": "8-bit grey"}


def write_pairs(
    folder: Path, layout: PairLayout, splits: Mapping[str, Sequence[str]], out: Path
) -> dict[str, str]:
    """Store the pairs of every split as ``<split>_x.npy`` and ``<split>_y.npy``.

    Args:
        folder: the source.
        layout: names and content of its files.
        splits: split → names of its pairs, in order.
        out: folder for the arrays.

    Returns:
        Archive or part of the folder → its SHA-256 (of a part: one over all files).
    """
    width, height = layout.stored_size
    shapes = {"x": (3, height, width), "y": (height, width)}
    positions = {name: (split, row) for split in splits for row, name in enumerate(splits[split])}
    pending = {(name, array) for name in positions for array in shapes}
    total = len(pending)
    digests: dict[str, list[str]] = {}
    with ExitStack() as stack, Meter(f"{layout.name}: files") as meter:
        writers = {
            (split, array): stack.enter_context(
                open_row_writer(out / f"{split}_{array}.npy", (len(names), *shape))
            )
            for split, names in splits.items()
            for array, shape in shapes.items()
        }
        for file in walk_files(folder, layout):
            if (file.name, file.array) not in pending:
                break
            pending.remove((file.name, file.array))
            blob = file.read()
            split, row = positions[file.name]
            writers[split, file.array](row, _decode(blob, file, layout))
            digest = f"{file.array}/{file.name} {hashlib.sha256(blob).hexdigest()}"
            digests.setdefault(file.origin, []).append(digest)
            meter.update(total - len(pending), total, file.name)
    if pending:
        raise UserError(str(folder), "was changed while it was read", "try again")
    return {
        origin: hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
        if origin.endswith("/")
        else file_sha256(folder / origin)
        for origin, lines in digests.items()
    }


def _decode(blob: bytes, file: PairFile, layout: PairLayout) -> Pixels:
    """Return an image ``[3, H, W]`` or a class map ``[H, W]`` at the stored size."""
    from PIL import Image

    mode = _MODES[file.array]
    with open_image(blob, file.where, layout.source_size, ("PNG",)) as image:
        if image.mode != mode:
            actual = _MODE_NAMES.get(image.mode, f"of mode {image.mode}")
            what = f"is {actual}, not {_MODE_NAMES[mode]}"
            fix = "give class numbers, not colours" if mode == "L" else "give the original image"
            raise UserError(file.where, what, fix)
        if mode == "RGB":
            small = image.resize(layout.stored_size, Image.Resampling.BILINEAR)
            return np.asarray(small).transpose(2, 0, 1)
        # Nearest neighbour: a mean of two class numbers would be a third class.
        return _resize_nearest(_map_labels(np.asarray(image), file, layout), layout.stored_size)


def _resize_nearest(classes: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize a class map by nearest neighbour: each pixel is the one under its centre.

    Indices are whole numbers. (Pillow adds fractions along a row, so rounding would decide ties.)
    """
    columns, rows = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(size, reversed(classes.shape), strict=True)
    )
    resized: Pixels = classes[np.ix_(rows, columns)]
    return resized


def _map_labels(labels: Pixels, file: PairFile, layout: PairLayout) -> Pixels:
    """Map the labels in the file to class indices and ``VOID``."""
    known = layout.void.union(layout.classes.values())
    unknown = set(np.flatnonzero(np.bincount(labels.ravel())).tolist()) - known
    if unknown:
        fix = f"give labels from {min(known)} to {max(known)}"
        raise UserError(file.where, f"holds the label {min(unknown)}", fix)
    classes: Pixels = layout.table[labels]
    return classes
