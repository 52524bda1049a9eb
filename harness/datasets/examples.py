"""Labelled examples that a layout finds in a source, before their pixels are read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.config.dataset import DatasetManifest, Picture
from harness.config.dataset_fields import Part
from harness.datasets.mistakes import Mistakes
from harness.datasets.pictures.resizing import Box
from harness.datasets.remarks import Remarks

Pieces = Iterator[tuple[int, str, NDArray[Any]]]
"""Number of an example, ``x`` or ``y``, and its array."""


@dataclass(frozen=True)
class Source:
    """Source that is being read.

    Attributes:
        manifest: what the user says of it.
        folder: the folder.
        mistakes: gets everything that is wrong with it.
        remarks: gets what is to be said beside results.
    """

    manifest: DatasetManifest
    folder: Path
    mistakes: Mistakes
    remarks: Remarks = field(default_factory=Remarks)

    @property
    def picture(self) -> Picture:
        """Form in which its pictures are stored."""
        return self.manifest.picture or Picture()


@dataclass(frozen=True, slots=True)
class Example:
    """Labelled example.

    Attributes:
        name: name in the source; ids are made from it.
        label: class from 0; −1 in segmentation, where each pixel has one.
        split: split that the source puts it in; ``None``: not said.
        group: group whose examples stay together; empty: alone.
        box: part of the picture that counts.
    """

    name: str
    label: int
    split: Part | None
    group: str = ""
    box: Box | None = None


@dataclass(frozen=True)
class Found:
    """Examples of a source.

    Attributes:
        examples: in an order that depends on the source's content alone.
        classes: names of the classes.
        read: takes the numbers of examples, and yields their arrays in any order: ``x`` uint8
            ``[C, H, W]`` or float32 ``[F]``; in segmentation also ``y`` uint8 ``[H, W]``.
        files: file or folder → SHA-256, complete once everything is read.
        named: whether names are those of files, to be shown; else of rows.
        void: value of pixels without a class; ``None`` in other tasks.
    """

    examples: Sequence[Example]
    classes: tuple[str, ...]
    read: Callable[[Collection[int]], Pieces]
    files: Mapping[str, str]
    named: bool = True
    void: int | None = None


def from_rows(
    arrays: Mapping[Part, tuple[NDArray[Any], NDArray[Any]]],
    classes: tuple[str, ...],
    files: Mapping[str, str],
    fit: Callable[[str, NDArray[Any]], NDArray[Any]] = lambda field, values: values,
) -> Found:
    """Return the examples of arrays that are already there.

    Args:
        arrays: split → inputs ``[N, ...]``, and labels ``[N]`` or class maps.
        classes: names of the classes.
        files: file → its SHA-256.
        fit: takes ``x`` or ``y`` and the array of one example, and returns it in the stored form.
    """
    examples: list[Example] = []
    places: list[tuple[Part, int]] = []
    for part, (x, y) in arrays.items():
        flat = y.ndim == 1
        for row in range(len(x)):
            examples.append(Example(f"{part}/{row}", int(y[row]) if flat else -1, part))
            places.append((part, row))

    def read(wanted: Collection[int]) -> Pieces:
        for number in wanted:
            part, row = places[number]
            x, y = arrays[part]
            yield number, "x", fit("x", x[row])
            if y.ndim > 1:
                yield number, "y", fit("y", y[row])

    maps = any(np.ndim(y) > 1 for _, y in arrays.values())
    return Found(examples, classes, read, files, named=False, void=255 if maps else None)
