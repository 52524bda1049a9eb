"""PubFig: features of faces, ranked by the order of their people in eleven attributes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.common.files import save_array
from harness.datasets.base import Card, Ids, comparison_spec
from harness.datasets.cache import file_sha256
from harness.datasets.hashing import name_ids, unequal_pairs
from harness.datasets.mat_files import labels_from_one, read_mat
from harness.datasets.ranking.source import PARTS, RankingSource, make_dataset

FILE = "pubfig_data.mat"
FACES, FEATURES = 772, 542
ATTRIBUTES = (
    "male",
    "white",
    "young",
    "smiling",
    "chubby",
    "visible forehead",
    "bushy eyebrows",
    "narrow eyes",
    "pointy nose",
    "big lips",
    "round face",
)
PAIRS = {"train": 300, "val": 60, "test": 300}
"""Split → number of pairs of each attribute."""


class Faces(NamedTuple):
    """Content of the file.

    Attributes:
        x: features, float64 ``[772, 542]``.
        train: mask of training faces, bool ``[772]``.
        rank: rank in each attribute, int64 ``[11, 772]``; larger is more.
    """

    x: NDArray[np.float64]
    train: NDArray[np.bool_]
    rank: Ids


def write_arrays(source: Path, out: Path) -> dict[str, object]:
    """Scale the features, draw the pairs, store both, and return fields of the manifest."""
    path = source / FILE
    faces = _read_faces(path)
    rows = {
        "train": np.flatnonzero(faces.train),
        "val": np.flatnonzero(faces.train),
        "test": np.flatnonzero(~faces.train),
    }
    x = _scale(faces.x, faces.train)
    pairs = _draw_pairs(faces.rank, rows)
    for part in PARTS:
        y = pairs[part]
        keys = [f"{a},{b},{c}" for a, b, c in zip(*rows[part][y[:, :2]].T, y[:, 3], strict=True)]
        save_array(out / f"{part}_x.npy", x[rows[part]])
        save_array(out / f"{part}_y.npy", y)
        save_array(out / f"{part}_ids.npy", name_ids("pubfig", keys))
    return {
        "files": {FILE: file_sha256(path)},
        "lossy": False,
        "note": "",
        "counts": {part: len(y) for part, y in pairs.items()},
    }


def _read_faces(path: Path) -> Faces:
    found = read_mat(path, ("feat", "class_labels", "relative_ordering", "used_for_training"))
    x = found["feat"].astype(np.float64)
    order = found["relative_ordering"].astype(np.int64)
    train = found["used_for_training"].ravel() != 0
    where = f"{path}: class_labels"
    people = labels_from_one(found["class_labels"].ravel(), order.shape[-1], where)
    faces = Faces(x, train, order[:, people])
    shapes = (x.shape, train.shape, faces.rank.shape)
    if shapes != ((FACES, FEATURES), (FACES,), (len(ATTRIBUTES), FACES)):
        raise UserError(str(path), f"has arrays of shapes {shapes}", "give the original file")
    if not np.isfinite(x).all() or not 0 < train.sum() < FACES:
        raise UserError(
            str(path), "has features or splits that are impossible", "give the original"
        )
    return faces


def _scale(x: NDArray[np.float64], train: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Scale each feature to [0, 1] by its range in train, and clip values outside."""
    low, high = x[train].min(axis=0), x[train].max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    scaled: NDArray[np.float32] = np.clip((x - low) / span, 0, 1).astype(np.float32)
    return scaled


def _draw_pairs(rank: Ids, rows: dict[str, NDArray[np.intp]]) -> dict[str, Ids]:
    """Draw the pairs ``[n, 4]`` of each split; train and val share a draw and no pair."""
    pairs: dict[str, list[Ids]] = {part: [] for part in PARTS}
    first = PAIRS["train"]
    for attribute, value in enumerate(rank):
        seen = unequal_pairs(
            f"pubfig/train/{attribute}", value[rows["train"]], first + PAIRS["val"]
        )
        unseen = unequal_pairs(f"pubfig/test/{attribute}", value[rows["test"]], PAIRS["test"])
        for part, drawn in (("train", seen[:first]), ("val", seen[first:]), ("test", unseen)):
            column = np.full(len(drawn), attribute)
            pairs[part].append(np.column_stack([drawn, column]))
    return {part: np.concatenate(batches) for part, batches in pairs.items()}


_PUBFIG = RankingSource(
    name="pubfig",
    version=1,
    spec=comparison_spec(ATTRIBUTES, (FEATURES,)),
    write_arrays=write_arrays,
    accepted=FILE,
    origin="https://github.com/chaitanya100100/Relative-Attributes-Zero-Shot-Learning",
)
CACHE_ENTRIES = {"pubfig": _PUBFIG.cache_entry}

DATASETS = (
    make_dataset(
        _PUBFIG,
        Card(
            title="PubFig: faces of eight people as features, ranked in eleven attributes",
            license="none stated by the repository; its authors ask to be cited",
            citation=(
                "D. Parikh, K. Grauman: Relative Attributes. ICCV 2011. "
                "N. Kumar, A. C. Berg, P. N. Belhumeur, S. K. Nayar: Attribute and Simile "
                "Classifiers for Face Verification. ICCV 2009."
            ),
            source=f"{_PUBFIG.origin}, {FILE}; not downloaded",
            size="3,300 train, 660 validation, 3,300 test pairs of 772 faces; 542 features",
            note=(
                "+1 means that the first has more. Ranks are of people, not of faces, and pairs "
                "are drawn by hash among those of different rank; validation has other pairs of "
                "train's 241 faces. Features are scaled to [0, 1] by their range in train."
            ),
        ),
        (3_300, 660, 3_300),
    ),
)
