"""Figures of single classes in the records of a segmentation cell, over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.report.cells import CellRow, Metric, Record
from harness.report.worst_case import Estimate, decode, pooled
from harness.results import codec

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ClassRow:
    """One class.

    Attributes:
        name: its name.
        share: its share of the labelled pixels, ``None`` where the labels cannot be read.
        clean: clean IoU.
        attacked: IoU under attack.
    """

    name: str
    share: float | None
    clean: Estimate | None
    attacked: Estimate | None

    @property
    def drop(self) -> float | None:
        """Drop of the IoU as a difference of fractions; negative where the class gained."""
        if self.clean is None or self.attacked is None:
            return None
        return self.clean.value - self.attacked.value


@dataclass(frozen=True)
class Classes:
    """All classes of one cell.

    Attributes:
        rows: highest clean IoU first, those without one last.
        mean: clean and attacked mIoU, as a row.
        names: names in the order of the class numbers.
        moves: int64 ``[K + 1, K + 1]``, labelled pixels by clean and by attacked prediction, summed
            over seeds; the last row and column stand for no class. ``None`` if a record has none.
    """

    rows: tuple[ClassRow, ...]
    mean: ClassRow
    names: tuple[str, ...]
    moves: Counts | None


@dataclass(frozen=True)
class Move:
    """Change of predictions from one class to another.

    Attributes:
        before: class predicted on clean images.
        after: class predicted under attack.
        pixels: number of labelled pixels.
        share: their share of all pixels of the clean class.
    """

    before: str
    after: str
    pixels: int
    share: float


def largest_moves(classes: Classes, most: int = 10) -> tuple[Move, ...]:
    """Return the most frequent changes to a different class."""
    if classes.moves is None:
        return ()
    counts, names = named_moves(classes.moves, classes.names)
    sums = counts.sum(axis=1)
    pairs = [(int(counts[i, j]), i, j) for i, j in np.argwhere(counts > 0).tolist() if i != j]
    pairs.sort(key=lambda pair: (-pair[0], *pair[1:]))
    return tuple(Move(names[i], names[j], n, n / int(sums[i])) for n, i, j in pairs[:most])


def named_moves(moves: Counts, names: Sequence[str]) -> tuple[Counts, tuple[str, ...]]:
    """Return the moves with their class names, without "no class" where no pixel has it."""
    if moves[-1].any() or moves[:, -1].any():
        return moves, (*names, "no class")
    return moves[:-1, :-1], tuple(names)


def classes_of(lines: Sequence[CellRow]) -> Classes | None:
    """Return the classes of a cell's seeds; ``None`` where no record has confusions."""
    found = [line.record for line in lines if line.status == "ok" and line.record]
    found = [record for record in found if record.confusions]
    if not found:
        return None
    images, k = shape_of(found[0])
    found = [record for record in found if shape_of(record)[1] == k]
    names = class_names(found[0])
    shares = _shares(found[0], k)
    metrics, parts = [record.metrics for record in found], [record.parts for record in found]
    rows = [
        ClassRow(
            name,
            None if shares is None else float(shares[i]),
            _pooled(parts, f"clean_iou[class {i}]", images),
            _pooled(parts, f"iou[class {i}]", images),
        )
        for i, name in enumerate(names)
    ]
    rows.sort(key=lambda row: -(row.clean.value if row.clean else -1.0))
    mean = ClassRow(
        "mean",
        None,
        _pooled(metrics, "clean_miou", images),
        _pooled(metrics, "miou", images),
    )
    return Classes(tuple(rows), mean, names, _moves(found, k))


def class_names(record: Record) -> tuple[str, ...]:
    """Return the names of the classes, ``class 3`` and the like where the record has none."""
    names = tuple(str(name) for name in (record.confusions or {}).get("classes", ()))
    _, k = shape_of(record)
    return names if len(names) == k else tuple(f"class {i}" for i in range(k))


def shape_of(record: Record) -> tuple[int, int]:
    """Return the number of images and of classes of a record with confusions."""
    images, k = (int(side) for side in (record.confusions or {})["shape"][:2])
    return images, k


def _pooled(figures: Sequence[Mapping[str, Metric]], name: str, images: int) -> Estimate | None:
    return pooled([each[name] for each in figures if name in each], images)


def _shares(record: Record, k: int) -> NDArray[np.float64] | None:
    """Return each class's share of the labelled pixels."""
    outcome = decode(record)
    if outcome is None or not outcome.confusions:
        return None
    labels = outcome.confusions["before"].sum(axis=(0, 2), dtype=np.float64)
    shares: NDArray[np.float64] = labels / max(1.0, labels.sum())
    return shares if len(shares) == k else None


def _moves(found: Sequence[Record], k: int) -> Counts | None:
    read = [moves_of(record.confusions or {}, k) for record in found]
    known = [one for one in read if one is not None]
    return np.sum(known, axis=0) if known and len(known) == len(read) else None


def moves_of(maps: codec.Part, k: int) -> Counts | None:
    """Return the decoded ``moves`` of a record; ``None`` without any that can be read."""
    try:
        return codec.unpack_moves(maps.get("moves"), k)
    except ValueError:
        return None
