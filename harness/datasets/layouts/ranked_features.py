"""Layout ``ranked_features``: features of items, compared by the ranks of their groups."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.common.files import save_array
from harness.config.dataset_comparisons import RankedFeatures
from harness.config.dataset_fields import PARTS, Part
from harness.datasets.base import Array, Ids, comparison_spec
from harness.datasets.examples import Source
from harness.datasets.files.mat_files import labels_from_one, numbers_of, read_mat
from harness.datasets.hashing import unequal_pairs
from harness.datasets.layouts.comparison_arrays import store_comparisons
from harness.datasets.stored import StoredFacts
from harness.datasets.templates import Templates
from harness.datasets.walk import find_matches


class _Items(NamedTuple):
    """Content of the file.

    Attributes:
        x: features, float64 ``[N, F]``.
        train: mask of training items, bool ``[N]``.
        rank: rank in each attribute, int64 ``[A, N]``; larger is more.
    """

    x: NDArray[np.float64]
    train: NDArray[np.bool_]
    rank: Ids


def write(layout: RankedFeatures, source: Source, out: Path) -> StoredFacts | None:
    """Scale the features, draw the pairs, store both, and return fields of the stored manifest.

    Returns:
        ``None`` if the file is not there.

    Raises:
        UserError: the file is damaged, or lacks a variable, or one that does not fit the others.
    """
    name, attributes = source.manifest.name, source.manifest.classes
    found = [file for file, _ in find_matches(source, Templates([layout.file], layout, ()))]
    source.mistakes.check()
    if not found:
        return None
    blob, where = found[0].read(), found[0].where
    items = _read_items(layout, blob, where, len(attributes))
    train, other = np.flatnonzero(items.train), np.flatnonzero(~items.train)
    rows: dict[Part, NDArray[np.intp]] = {"train": train, "val": train, "test": other}
    x, pairs = _scale(items.x, items.train), _draw_pairs(layout, name, items.rank, rows)
    keys: dict[Part, list[str]] = {}
    for part, y in pairs.items():
        save_array(out / f"{part}_x.npy", x[rows[part]])
        keys[part] = [
            f"{a},{b},{c}" for a, b, c in zip(*rows[part][y[:, :2]].T, y[:, 3], strict=True)
        ]
        wanted = layout.pairs.get(part, 0) * len(attributes)
        if len(y) < wanted:
            source.remarks.say(f"few items, hence {len(y):,} of {wanted:,} {part} pairs")
    facts = store_comparisons(source, pairs, keys, {}, out)
    spec = comparison_spec(attributes, x.shape[1:])
    return {"spec": spec, "files": {layout.file: found[0].sha256()}, **facts}


def _read_items(layout: RankedFeatures, blob: bytes, where: str, attributes: int) -> _Items:
    names = (layout.features, layout.labels, layout.ranks, layout.train)
    features, labels, ranks, used = numbers_of(read_mat(blob, where, names), where)
    x, train = features.astype(np.float64), used.ravel() != 0
    labels = labels_from_one(labels.ravel(), ranks.shape[-1], f"{where}: {layout.labels}")
    wanted = {
        layout.features: (len(x), layout.feature_count or x.shape[-1]),
        layout.labels: (len(x),),
        layout.ranks: (attributes, ranks.shape[-1]),
        layout.train: (len(x),),
    }
    for name, array in zip(wanted, (x, labels, ranks, train), strict=True):
        if array.shape != wanted[name]:
            what = f"its {name} has the shape {array.shape}, not {wanted[name]}"
            raise UserError(where, what, "give the original file")
    if not np.isfinite(x).all():
        raise UserError(where, f"its {layout.features} has values that are no numbers", "mend them")
    if not (np.isfinite(ranks) & (ranks == np.rint(ranks))).all():
        raise UserError(
            where, f"its {layout.ranks} has values that are no whole numbers", "round them"
        )
    if not 0 < train.sum() < len(train):
        what = f"its {layout.train} leaves no items for {'test' if train.any() else 'train'}"
        raise UserError(where, what, "give the original file")
    return _Items(x, train, ranks.astype(np.int64)[:, labels])


def _scale(x: NDArray[np.float64], train: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Scale each feature to [0, 1] by its range in train, and clip values outside."""
    low, high = x[train].min(axis=0), x[train].max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    scaled: NDArray[np.float32] = np.clip((x - low) / span, 0, 1).astype(np.float32)
    return scaled


def _draw_pairs(
    layout: RankedFeatures, name: str, rank: Ids, rows: dict[Part, NDArray[np.intp]]
) -> dict[Part, Ids]:
    """Draw the pairs ``[n, 4]`` of each split; train and val share a draw and no pair."""
    pairs: dict[Part, list[Array]] = {part: [] for part in PARTS}
    train, val, test = (layout.pairs.get(part, 0) for part in PARTS)
    for attribute, value in enumerate(rank):
        seen = unequal_pairs(f"{name}/train/{attribute}", value[rows["train"]], train + val)
        unseen = unequal_pairs(f"{name}/test/{attribute}", value[rows["test"]], test)
        for part, drawn in zip(PARTS, (seen[:train], seen[train:], unseen), strict=True):
            pairs[part].append(np.column_stack([drawn, np.full(len(drawn), attribute)]))
    return {part: np.concatenate(batches) for part, batches in pairs.items()}
