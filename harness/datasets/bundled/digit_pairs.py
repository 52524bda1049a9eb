"""Digit images ranked by the number that they show."""

from __future__ import annotations

import numpy as np

from harness.datasets.base import Card, Dataset, Facts, Split, Splits, comparison_spec
from harness.datasets.bundled import digits
from harness.datasets.hashing import unequal_pairs

PAIRS = {"train": 2000, "val": 400, "test": 1000}
FIRST_ID = {"train": 0, "val": 10_000, "test": 20_000}


def load() -> Splits:
    """Make pairs (i, j, label, attribute 0) of items of a split; +1: i shows the larger number."""
    source = digits.load()
    return Splits(
        spec=comparison_spec(["number shown"], (1, 8, 8)),
        train=_draw_pairs(source.train, "train"),
        val=_draw_pairs(source.val, "val"),
        test=_draw_pairs(source.test, "test"),
    )


def _draw_pairs(items: Split, part: str) -> Split:
    """Draw the comparisons of a split: never of equal numbers, never of two items twice."""
    pairs = unequal_pairs(f"digits-ranking/{part}", items.y.astype(np.int64), PAIRS[part])
    y = np.column_stack([pairs, np.zeros(len(pairs), dtype=np.int64)])
    ids = FIRST_ID[part] + np.arange(len(y), dtype=np.int64)
    return Split(x=items.x, y=y, ids=ids)


DATASETS = (
    Dataset(
        name="digits-ranking",
        task="ranking",
        card=Card(
            title="Handwritten digits, ranked by the number they show",
            license=digits.LICENSE,
            citation=digits.CITATION,
            source=digits.SOURCE,
            size="2,000 train, 400 validation, 1,000 test pairs of digits; 8x8 grey",
            note="Items are the splits of `digits`. Equal numbers are never compared.",
        ),
        facts=Facts(PAIRS["train"], PAIRS["val"], PAIRS["test"], 1, (1, 8, 8)),
        bundled=load,
    ),
)
