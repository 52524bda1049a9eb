"""Digit images ranked by the number that they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.datasets import digits
from harness.datasets.base import (
    Card,
    Dataset,
    Facts,
    Split,
    Splits,
    comparison_spec,
    unequal_pairs,
)

PAIRS = {"train": 2000, "val": 400, "test": 1000}
FIRST_ID = {"train": 0, "val": 10_000, "test": 20_000}


def load(root: Path) -> Splits:
    """Pairs (i, j, label, attribute 0) of items of one split; +1 means that i shows the larger."""
    source = digits.load(root)
    return Splits(
        spec=comparison_spec(["number shown"], (1, 8, 8)),
        train=_pairs(source.train, "train"),
        val=_pairs(source.val, "val"),
        test=_pairs(source.test, "test"),
    )


def _pairs(items: Split, part: str) -> Split:
    """The split's comparisons: no equal numbers, and no two items compared twice."""
    pairs = unequal_pairs(f"digits-ranking/{part}", items.y.astype(np.int64), PAIRS[part])
    y = np.column_stack([pairs, np.zeros(len(pairs), dtype=np.int64)])
    ids = FIRST_ID[part] + np.arange(len(y), dtype=np.int64)
    return Split(x=items.x, y=y, ids=ids)


DATASETS = (
    Dataset(
        name="digits-ranking",
        task="ranking",
        version=1,
        card=Card(
            title="Handwritten digits, ranked by the number they show",
            licence=digits.LICENCE,
            citation=digits.CITATION,
            source=digits.SOURCE,
            size="2,000 train, 400 validation, 1,000 test pairs of digits; 8x8 grey",
            note="Items are the splits of `digits`. Equal numbers are never compared.",
        ),
        facts=Facts(PAIRS["train"], PAIRS["val"], PAIRS["test"], 1, (1, 8, 8)),
        load=load,
        bundled=True,
        fetch=None,
    ),
)
