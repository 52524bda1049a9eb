"""Digit images ranked by the number that they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.datasets import digits
from harness.datasets.base import Card, Dataset, Split, Splits, draws

PAIRS = {"train": 2000, "val": 400, "test": 1000}
FIRST_ID = {"train": 0, "val": 10_000, "test": 20_000}
_CANDIDATES = 2
"""Candidates drawn per pair wanted: a tenth shows equal numbers, a few come twice."""


def load(root: Path) -> Splits:
    """Pairs (i, j, label, attribute 0) of items of one split; +1 means that i shows the larger."""
    source = digits.load(root)
    spec = source.spec | {"task": "ranking", "outputs": 1, "arity": 2, "classes": ["number shown"]}
    return Splits(
        spec=spec,
        train=_pairs(source.train, "train"),
        val=_pairs(source.val, "val"),
        test=_pairs(source.test, "test"),
    )


def _pairs(items: Split, part: str) -> Split:
    """The split's comparisons: no equal numbers, and no two items compared twice."""
    wanted, number = PAIRS[part], items.y.astype(np.int64)
    chance = draws(f"digits-ranking/{part}", 2 * _CANDIDATES * wanted).reshape(-1, 2)
    pairs = (chance * len(number)).astype(np.int64)
    pairs = pairs[number[pairs[:, 0]] != number[pairs[:, 1]]]
    _, first = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)
    pairs = pairs[np.sort(first)[:wanted]]
    label = np.sign(number[pairs[:, 0]] - number[pairs[:, 1]])
    y = np.column_stack([pairs, label, np.zeros(wanted, dtype=np.int64)])
    ids = FIRST_ID[part] + np.arange(wanted, dtype=np.int64)
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
        load=load,
        bundled=True,
        fetch=None,
    ),
)
