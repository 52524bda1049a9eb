"""Duplicate pictures and missing classes of a fetched data set, found when it is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.common.files import load_array
from harness.common.text import escape, list_first
from harness.config.dataset_fields import PARTS
from harness.datasets.base import Array
from harness.datasets.remarks import Remarks
from harness.datasets.stored import read_rows

MOST = 20
"""Duplicates that are named; all are counted."""

Names = Mapping[str, Sequence[str]]
"""Split → name of each picture; a split whose pictures have none is not there."""


@dataclass
class Duplicates:
    """Pictures of one split that are, pixel for pixel, also in a split.

    Attributes:
        part: the split.
        other: the split with the first of them; ``part`` itself for copies within it.
        count: pictures of ``part`` that are in ``other``; within a split, all but the first.
        relabelled: how many of them have another label there, where pictures have labels.
        named: names of the first 20, each with the name of its first copy in ``other``.
        noun: what they are called.
    """

    part: str
    other: str
    noun: str = "picture"
    count: int = 0
    relabelled: int = 0
    named: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Duplicates:
        """Return duplicates from their entry in a stored manifest."""
        noun = entry.get("noun", "picture")
        count, relabelled, named = entry["count"], entry["relabelled"], list(entry["named"])
        return cls(entry["part"], entry["also_in"], noun, count, relabelled, named)

    def sentence(self) -> str:
        """Say how many there are, and name the first."""
        verb = _number(self.count, self.noun)
        place = f"elsewhere in {self.part}" if self.part == self.other else f"in {self.other}"
        first, copy = self.named[0]
        labels = f", {self.relabelled:,} with another label" if self.relabelled else ""
        return f"{self.count:,} {self.part} {verb} also {place}{labels} ({first} = {copy} first)"


def inspect_arrays(
    folder: Path,
    names: Names,
    remarks: Remarks,
    classes: Sequence[str] = (),
    crop: int | None = None,
) -> dict[str, object]:
    """Find duplicates and missing classes in the arrays of a set of pictures.

    Pictures are compared as networks are tested on them, so after a resize and a crop, and labelled
    rows of features likewise. Items of comparisons without pictures are not compared.

    Args:
        folder: folder with ``<split>_x.npy`` and ``<split>_y.npy``.
        names: names of the pictures.
        remarks: gets a sentence for each finding.
        classes: names of the classes; empty: labels are not looked at.
        crop: side of the middle of each picture that networks get; ``None``: all of it.

    Returns:
        Fields of the stored manifest.
    """
    x, y = ({part: load_array(path) for part in PARTS
             if (path := folder / f"{part}_{key}.npy").is_file()} for key in "xy")  # fmt: skip
    labels: dict[str, Array] = {
        part: array for part, array in y.items() if classes and array.ndim == 1
    }
    pictures = any(array.dtype == np.uint8 and array.ndim == 4 for array in x.values())
    rows: dict[str, Iterable[Array | bytes]] = {
        part: _middles(read_rows(folder / f"{part}_x.npy"), array, crop)
        for part, array in x.items()
        if pictures or part in labels
    }
    noun = "picture" if pictures else "example"
    duplicates = find_duplicates(rows, labels, names, noun)
    # a split without any example lacks no class in particular
    full = {part: array for part, array in y.items() if len(array)}
    missing = {part: list(_missing(full[part], classes)) for part in full} if classes else {}
    for one in duplicates:
        remarks.say(one.sentence())
    for part, some in missing.items():
        remarks.say(f"no {part} example of {list_first(some, 5)}" if some else "")
    found = {
        "duplicates": [
            {"part": one.part, "also_in": one.other, "count": one.count,
             "relabelled": one.relabelled, "named": one.named, "noun": one.noun}
            for one in duplicates
        ],
        "missing_classes": missing,
    }  # fmt: skip
    return {"findings": found}


def _middles(rows: Iterable[bytes], x: Array, crop: int | None) -> Iterable[bytes]:
    """Return the middle of each picture, of its bytes; without a crop all of it."""
    if crop is None or x.ndim != 4:
        return rows
    # the same middle as of ``runtime.crops``, which data sets must not import
    top, left = ((side - crop) // 2 for side in x.shape[2:])
    pictures = (np.frombuffer(row, x.dtype).reshape(x.shape[1:]) for row in rows)
    return (one[:, top : top + crop, left : left + crop].tobytes() for one in pictures)


def find_duplicates(
    x: Mapping[str, Iterable[Array | bytes]],
    labels: Mapping[str, Array],
    names: Names,
    noun: str = "picture",
) -> list[Duplicates]:
    """Find equal examples within splits and across them.

    Args:
        x: split → inputs, as arrays or their bytes, in the order train, validation, test.
        labels: split → labels ``[N]``; may be empty.
        names: names of the examples; others are named by their row.
        noun: what they are called.

    Returns:
        One entry for each split, or two of them, that has duplicates.
    """
    owners: dict[bytes, dict[str, int]] = {}
    found: dict[tuple[str, str], Duplicates] = {}

    def name(part: str, row: int) -> str:
        return escape(names[part][row]) if part in names else f"{part} row {row}"

    for part, pictures in x.items():
        for row, picture in enumerate(pictures):
            digest = hashlib.blake2b(bytes(picture), digest_size=16).digest()
            known = owners.setdefault(digest, {})
            for other, first in known.items():
                entry = found.setdefault((part, other), Duplicates(part, other, noun))
                entry.count += 1
                if part in labels and other in labels:
                    entry.relabelled += int(labels[part][row] != labels[other][first])
                if len(entry.named) < MOST:
                    entry.named.append((name(part, row), name(other, first)))
            known.setdefault(part, row)
    return list(found.values())


def shared_sentence(facts: Mapping[str, Any]) -> str:
    """Say what a set has in two splits; empty where nothing is known of it.

    Args:
        facts: of the stored set.

    >>> found = {"duplicates": [{"part": "test", "also_in": "train", "count": 3}]}
    >>> shared_sentence({"findings": found})
    '3 test pictures are also in train'
    """
    sentences = [
        f"{one['count']:,} {one['part']} {_number(one['count'], one.get('noun', 'picture'))}"
        f" also in {one['also_in']}"
        for one in facts.get("findings", {}).get("duplicates", ())
        if one["part"] != one["also_in"]
    ]
    sentences += [
        f"{count:,} {_number(count, 'group')} in train and in {part}"
        for part, count in facts.get("shared_groups", {}).items()
    ]
    return "; ".join(sentences)


def _number(count: int, noun: str) -> str:
    return f"{noun} is" if count == 1 else f"{noun}s are"


def _missing(y: Array, classes: Sequence[str]) -> Iterator[str]:
    """Yield the classes without an example (in class maps: without a pixel)."""
    seen = np.zeros(256, dtype=np.int64) if y.ndim > 1 else np.bincount(y, minlength=len(classes))
    for class_map in y if y.ndim > 1 else ():
        seen += np.bincount(class_map.ravel(), minlength=256)
    return (name for name, count in zip(classes, seen.tolist(), strict=False) if not count)
