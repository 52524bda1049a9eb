"""Data sets: those of a checkout (``Datasets``), and loading what is stored by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.datasets import stored
from harness.datasets.base import Card, DataMissing, Dataset, Split, Splits
from harness.datasets.bundled import BUNDLED, find
from harness.datasets.catalog import Datasets
from harness.datasets.fraction import fraction_rows, select_rows

__all__ = [
    "BUNDLED",
    "Card",
    "DataMissing",
    "Dataset",
    "Datasets",
    "Split",
    "Splits",
    "find",
    "load",
]


def load(name: str, root: Path, train_fraction: float = 1.0) -> Splits:
    """Load a data set with a fraction of its training examples (in ranking: of its comparisons).

    The choice of examples depends on their ids alone. A smaller fraction is a subset of a larger.

    Args:
        name: of a bundled set, or of one that is stored.
        root: folder of stored sets.
        train_fraction: above 0 and at most 1.

    Raises:
        DataMissing: it is not stored, or was changed.
    """
    found = find(name)
    make = None if found is None else found.bundled
    splits = stored.load(name, root) if make is None else make()
    rows = fraction_rows(name, splits.train, train_fraction)
    if rows is None:
        return splits
    task = str(splits.spec["task"])
    return replace(splits, train=select_rows(task, splits.train, rows))
