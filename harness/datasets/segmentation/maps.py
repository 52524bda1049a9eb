"""Images and class maps of pairs: decoded, checked, brought to the stored size, stored row by row.

A source is walked a second time, for its pixels, so that only one file is held at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from harness.common.errors import UserError
from harness.common.progress import Meter
from harness.datasets.pictures import opened
from harness.datasets.segmentation.pairs import File, Form, Pixels, walk
from harness.datasets.stored import rows, sha256_of

_MODES = {"x": "RGB", "y": "L"}
_SAID = {"RGB": "8-bit RGB", "L": "8-bit grey"}


def write(
    folder: Path, form: Form, splits: Mapping[str, Sequence[str]], out: Path
) -> dict[str, str]:
    """Store the pairs of every split as ``<split>_x.npy`` and ``<split>_y.npy``, in their order.

    Returns:
        What was read → its sha256: archives, and parts of the folder (one over all their files).
    """
    width, height = form.stored
    shapes = {"x": (3, height, width), "y": (height, width)}
    places = {name: (split, row) for split in splits for row, name in enumerate(splits[split])}
    waiting = {(name, array) for name in places for array in shapes}
    total = len(waiting)
    read: dict[str, list[str]] = {}
    with ExitStack() as stack, Meter(f"{form.name}: files") as meter:
        puts = {
            (split, array): stack.enter_context(
                rows(out / f"{split}_{array}.npy", (len(names), *shape))
            )
            for split, names in splits.items()
            for array, shape in shapes.items()
        }
        for file in walk(folder, form):
            if (file.name, file.array) not in waiting:
                break
            waiting.remove((file.name, file.array))
            blob = file.read()
            split, row = places[file.name]
            puts[split, file.array](row, _pixels(blob, file, form))
            mark = f"{file.array}/{file.name} {hashlib.sha256(blob).hexdigest()}"
            read.setdefault(file.origin, []).append(mark)
            meter.update(total - len(waiting), total, file.name)
    if waiting:
        raise UserError(str(folder), "was changed while it was read", "try again")
    return {
        origin: hashlib.sha256("\n".join(sorted(marks)).encode()).hexdigest()
        if origin.endswith("/")
        else sha256_of(folder / origin)
        for origin, marks in read.items()
    }


def _pixels(blob: bytes, file: File, form: Form) -> Pixels:
    """An image ``[3, H, W]`` or a class map ``[H, W]``, at the stored size."""
    from PIL import Image

    mode = _MODES[file.array]
    with opened(blob, file.where, form.source, ("PNG",)) as image:
        if image.mode != mode:
            what = f"is {_SAID.get(image.mode, f'of mode {image.mode}')}, not {_SAID[mode]}"
            fix = "give class numbers, not colours" if mode == "L" else "give the original image"
            raise UserError(file.where, what, fix)
        if mode == "RGB":
            small = image.resize(form.stored, Image.Resampling.BILINEAR)
            return np.asarray(small).transpose(2, 0, 1)
        # Classes first, size second, and never a mean: between road and tree there is no fence.
        return _nearest(_classes(np.asarray(image), file, form), form.stored)


def _nearest(classes: Pixels, size: tuple[int, int]) -> Pixels:
    """Shrunk to a width and height: each pixel is the one under its middle, by whole numbers.

    (Pillow adds up fractions along a row, so that ties between two pixels fall by rounding.)
    """
    columns, lines = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(size, reversed(classes.shape), strict=True)
    )
    shrunk: Pixels = classes[np.ix_(lines, columns)]
    return shrunk


def _classes(labels: Pixels, file: File, form: Form) -> Pixels:
    known = form.void.union(form.classes.values())
    unknown = set(np.flatnonzero(np.bincount(labels.ravel())).tolist()) - known
    if unknown:
        fix = f"give labels from {min(known)} to {max(known)}"
        raise UserError(file.where, f"holds the label {min(unknown)}", fix)
    classes: Pixels = form.table[labels]
    return classes
