"""Labelled examples from arrays of inputs and labels: what the layouts of arrays share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.config.dataset_fields import Part
from harness.datasets.examples import Example, Found, Pieces, Source
from harness.datasets.pictures.class_maps import VOID, fit_map
from harness.datasets.pictures.reader import read_picture
from harness.datasets.pictures.resizing import both_sides

Values = NDArray[Any]

MOST_CLASSES = 1 << 16
"""Most classes that are counted by their labels, where the data set's file does not name them."""


@dataclass(frozen=True)
class Rows:
    """Examples of one split.

    Attributes:
        x: inputs ``[N, C, H, W]`` or ``[N, F]``.
        y: labels ``[N]`` or ``[N, 1]``; in segmentation class maps ``[N, H, W]``.
        x_where: name of the inputs' file for messages.
        y_where: name of the labels' file for messages.
    """

    x: Values
    y: Values
    x_where: str
    y_where: str


def find_rows(
    source: Source,
    parts: Mapping[Part, Rows],
    files: Mapping[str, str],
    *,
    label_from: int = 0,
    convert: Callable[[Values], Values] = lambda values: values,
) -> Found | None:
    """Return the examples of arrays, checked; ``None`` without any, or after a mistake.

    Args:
        source: the source.
        parts: split → its arrays.
        files: file → its SHA-256.
        label_from: the first label.
        convert: makes uint8 pixels or float32 features of a row's values.
    """
    labels: dict[Part, Values] = {}
    for part, rows in parts.items():
        with source.mistakes.gather():
            _check_pictures(source, rows)
            labels[part] = _labels(source, rows)
    if not labels or source.mistakes.count:
        return None
    names = _classes(source, list(labels.values()), label_from)
    for part, rows in parts.items():
        with source.mistakes.gather():
            _check_labels(rows.y_where, labels[part], len(names), label_from)
    if source.mistakes.count:
        return None
    maps = source.manifest.task == "segmentation"
    places = [(part, row) for part, rows in parts.items() for row in range(len(rows.x))]
    examples = [
        Example(f"{part}/{row}", -1 if maps else int(labels[part][row]) - label_from, part)
        for part, row in places
    ]

    def read(wanted: Collection[int]) -> Pieces:
        for number in wanted:
            part, row = places[number]
            yield number, "x", _fit_picture(source, convert(parts[part].x[row]))
            if maps:
                values = labels[part][row]
                classes = np.where(values == VOID, VOID, values - label_from).astype(np.uint8)
                yield number, "y", fit_map(classes, source.picture.resize)

    return Found(examples, names, read, files, named=False, void=VOID if maps else None)


def _check_pictures(source: Source, rows: Rows) -> None:
    """Check the shape of the inputs."""
    if rows.x.ndim == 2:
        return
    channels, height, width = rows.x.shape[1:]
    if channels not in (1, 3):
        what = f"has {channels} channels"
        raise UserError(rows.x_where, what, "give 1 or 3, or change the order of axes")
    size = source.picture.size
    if size is not None and (wanted := both_sides(size)) != (width, height):
        what = f"holds pictures of {width}x{height} pixels"
        raise UserError(rows.x_where, what, f"give images of {wanted[0]}x{wanted[1]}")


def _labels(source: Source, rows: Rows) -> Values:
    """Return labels ``[N]`` or class maps ``[N, H, W]`` that belong to the inputs by their shape.

    Raises:
        UserError: they do not, or are no numbers of classes.
    """
    y = rows.y
    expected: tuple[int, ...] = (len(rows.x),)
    if source.manifest.task == "segmentation":
        expected = (len(rows.x), *rows.x.shape[2:])
    elif y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if not len(rows.x):
        raise UserError(rows.x_where, "holds no example", "give some, or leave it out")
    if y.ndim == 2 and len(expected) == 1 and len(y) == len(rows.x):
        what = f"has {y.shape[1]} columns, as if labels were one-hot"
        raise UserError(rows.y_where, what, "give numbers of classes, one an example")
    if y.shape != expected:
        what = f"has shape {y.shape}, and {rows.x_where} has {rows.x.shape}"
        raise UserError(rows.y_where, what, "give inputs and labels that belong together")
    if y.dtype.kind not in "iub":
        what = f"holds values of type {y.dtype}"
        raise UserError(rows.y_where, what, "give numbers of classes, as integers")
    return y if y.ndim > 1 else y.astype(np.int64)


def _classes(source: Source, labels: list[Values], label_from: int) -> tuple[str, ...]:
    """Return the names of the classes; numbers, where the manifest has none."""
    if source.manifest.classes:
        return source.manifest.classes
    count = source.manifest.class_count
    if count is None:
        top = max(_range(y)[1] for y in labels) + 1 - label_from
        count = min(top, MOST_CLASSES)  # a damaged label may be any number: it is refused later
    return tuple(str(label_from + label) for label in range(max(1, count)))


def _range(y: Values) -> tuple[int, int]:
    """Return the lowest and the highest label; of class maps, void is left out."""
    if y.ndim == 1:
        return int(y.min()), int(y.max())
    seen = [numbers[numbers != VOID] for row in y if len(numbers := np.unique(row))]
    known = np.concatenate(seen)
    return (int(known.min()), int(known.max())) if len(known) else (0, 0)


def _check_labels(where: str, y: Values, count: int, label_from: int) -> None:
    low, high = _range(y)
    most = label_from + count - 1
    if low < label_from or high > most:
        what = f"holds the label {low if low < label_from else high}"
        fix = f"give labels from {label_from} to {most}, or change label_from"
        raise UserError(where, what, fix)


def _fit_picture(source: Source, values: Values) -> Values:
    """Return pixels in the stored form.

    Where that is another, they are read as a picture file, so that its rules hold.
    """
    picture = source.picture
    if values.ndim == 1 or (len(values) == picture.channels and picture.resize is None):
        return values
    channels, height, width = values.shape
    head = f"P{6 if channels == 3 else 5}\n{width} {height}\n255\n".encode()
    read = read_picture(head + values.transpose(1, 2, 0).tobytes(), "a row", picture)
    source.remarks.add(read.remarks)
    return read.pixels
