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
from harness.datasets.image_files import PictureForm, read_class_map, read_picture
from harness.datasets.mistakes import Mistakes
from harness.datasets.remarks import Remarks
from harness.datasets.segmentation.pairs import PairFile, PairLayout, Pixels, walk_files


def write_pairs(
    folder: Path,
    layout: PairLayout,
    splits: Mapping[str, Sequence[str]],
    out: Path,
    remarks: Remarks,
) -> dict[str, str]:
    """Store the pairs of every split as ``<split>_x.npy`` and ``<split>_y.npy``.

    Args:
        folder: the source.
        layout: names and content of its files.
        splits: split → names of its pairs, in order.
        out: folder for the arrays.
        remarks: gets what is to be said of the pictures.

    Returns:
        Archive or part of the folder → its SHA-256 (of a part: one over all files).

    Raises:
        UserError: pictures or class maps that cannot be read, all at once.
    """
    width, height = layout.stored_size
    shapes = {"x": (3, height, width), "y": (height, width)}
    positions = {name: (split, row) for split in splits for row, name in enumerate(splits[split])}
    pending = {(name, array) for name in positions for array in shapes}
    total = len(pending)
    digests: dict[str, list[str]] = {}
    mistakes = Mistakes(str(folder))
    with ExitStack() as stack, Meter(f"{layout.name}: files") as meter:
        writers = {
            (split, array): stack.enter_context(
                open_row_writer(out / f"{split}_{array}.npy", (len(names), *shape))
            )
            for split, names in splits.items()
            for array, shape in shapes.items()
        }
        for file in walk_files(folder, layout, mistakes):
            if (file.name, file.array) not in pending:
                break
            pending.remove((file.name, file.array))
            split, row = positions[file.name]
            with mistakes.gather():
                blob = file.file.read()
                writers[split, file.array](row, _decode(blob, file, layout, remarks))
                digest = f"{file.array}/{file.name} {hashlib.sha256(blob).hexdigest()}"
                digests.setdefault(file.origin, []).append(digest)
            meter.update(total - len(pending), total, file.name)
    mistakes.check()
    if pending:
        raise UserError(str(folder), "was changed while it was read", "try again")
    return {
        origin: hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
        if origin.endswith("/")
        else file_sha256(folder / origin)
        for origin, lines in digests.items()
    }


def _decode(blob: bytes, file: PairFile, layout: PairLayout, remarks: Remarks) -> Pixels:
    """Return an image ``[3, H, W]`` or a class map ``[H, W]`` at the stored size."""
    where = file.file.where
    if file.array == "x":
        form = PictureForm(3, ("PNG",), layout.source_size, layout.stored_size, mapped=True)
        picture = read_picture(blob, where, form)
        remarks.add(picture.remarks)
        return picture.pixels
    labels, said = read_class_map(blob, where, layout.source_size)
    remarks.add(said)
    # Nearest neighbour: a mean of two class numbers would be a third class.
    return _resize_nearest(_map_labels(labels, where, layout), layout.stored_size)


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


def _map_labels(labels: Pixels, where: str, layout: PairLayout) -> Pixels:
    """Map the labels in the file to class indices and ``VOID``."""
    known = layout.void.union(layout.classes.values())
    unknown = set(np.flatnonzero(np.bincount(labels.ravel())).tolist()) - known
    if unknown:
        fix = f"give labels from {min(known)} to {max(known)}"
        raise UserError(where, f"holds the label {min(unknown)}", fix)
    classes: Pixels = layout.table[labels]
    return classes
