"""Labelled examples that a layout finds in a source, before their pixels are read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
