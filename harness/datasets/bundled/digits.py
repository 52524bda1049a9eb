"""Handwritten digits of scikit-learn: all ten, 0-4 (public data) and 5-9 (student data)."""

from __future__ import annotations

import numpy as np

from harness.datasets.base import Card, Dataset, Facts, Split, Splits, image_spec
from harness.datasets.hashing import hash_order

TRAIN, VAL = 1000, 297
LICENSE = "CC BY 4.0"
CITATION = (
    "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits. "
    "UCI Machine Learning Repository, 1998. https://doi.org/10.24432/C50P49"
)
SOURCE = "scikit-learn, sklearn.datasets.load_digits: the test set of the UCI collection"


def load() -> Splits:
    """Load all ten digits; ids are the row numbers of scikit-learn."""
    return digit_splits(range(10))


def load_public() -> Splits:
    """Load digits 0-4 of the same splits."""
    return digit_splits(range(5))


def load_student() -> Splits:
    """Load digits 5-9 of the same splits, with labels 0-4."""
    return digit_splits(range(5, 10))


def digit_splits(digits: range) -> Splits:
    """Return the fixed splits of some digits, with labels from 0."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, np.newaxis]
    y = bunch.target.astype(np.int64)
    ids = np.arange(len(y), dtype=np.int64)
    wanted = (y >= digits.start) & (y < digits.stop)

    def part(rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Split:
        rows = np.sort(rows[wanted[rows]])
        return Split(x=x[rows], y=y[rows] - digits.start, ids=ids[rows])

    train, val, test = np.split(hash_order(ids, "digits"), [TRAIN, TRAIN + VAL])
    spec = image_spec("classification", [str(digit) for digit in digits], (1, 8, 8))
    return Splits(spec=spec, train=part(train), val=part(val), test=part(test))


def _card(title: str, size: str, note: str = "") -> Card:
    return Card(title, LICENSE, CITATION, SOURCE, size, note)


DATASETS = (
    Dataset(
        name="digits",
        task="classification",
        card=_card(
            "Handwritten digits",
            "1,000 train, 297 validation, 500 test; 8x8 grey, 10 classes",
            "Pixel values 0-16 are stretched to 0-255.",
        ),
        facts=Facts(1000, 297, 500, 10, (1, 8, 8)),
        bundled=load,
    ),
    Dataset(
        name="digits-0-4",
        task="classification",
        card=_card(
            "Handwritten digits 0-4",
            "496 train, 166 validation, 239 test; 8x8 grey, 5 classes",
            "The splits of `digits`, filtered by class.",
        ),
        facts=Facts(496, 166, 239, 5, (1, 8, 8)),
        bundled=load_public,
    ),
    Dataset(
        name="digits-5-9",
        task="classification",
        card=_card(
            "Handwritten digits 5-9",
            "504 train, 131 validation, 261 test; 8x8 grey, 5 classes",
            "The splits of `digits`, filtered by class; labels are numbered from 0.",
        ),
        facts=Facts(504, 131, 261, 5, (1, 8, 8)),
        bundled=load_student,
    ),
)
