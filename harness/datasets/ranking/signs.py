"""Photographs of speed limits (GTSRB), ranked by the number on the sign."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from harness.common.errors import UserError
from harness.datasets.base import (
    Card,
    comparison_spec,
    hash_order,
    identities,
    unequal_pairs,
)
from harness.datasets.ranking.compared import PARTS, Kind, dataset, save
from harness.datasets.ranking.photographs import ACCEPTED, LIMITS, SIDE, Sign, signs_of, table_of

PAIRS = {"train": 4000, "val": 400, "test": 2000}
VAL_SHARE = 0.1


def fill(source: Path, out: Path) -> dict[str, object]:
    """Read the signs with a speed limit, cut them by track, draw the pairs, and store them."""
    parts = _cut(list(signs_of(source, table_of(source))))
    counts = {}
    for part, signs in parts.items():
        limits = np.array([sign.limit for sign in signs], dtype=np.int64)
        if len(np.unique(limits)) < 2:
            what = f"has no two {part} signs of different speed limits"
            raise UserError(str(source), what, f"give the whole of {ACCEPTED}")
        pairs = unequal_pairs(f"gtsrb-speed/{part}", limits, PAIRS[part])
        keys = (f"{signs[first].name},{signs[second].name}" for first, second, _ in pairs.tolist())
        save(out, f"{part}_x", np.stack([sign.pixels for sign in signs]))
        save(out, f"{part}_y", np.column_stack([pairs, np.zeros(len(pairs), dtype=np.int64)]))
        save(out, f"{part}_ids", identities("gtsrb-speed", keys))
        counts[part] = len(pairs)
    marks = sorted(f"{sign.name} {sign.digest}" for signs in parts.values() for sign in signs)
    short = [f"{counts[part]:,} of {PAIRS[part]:,} {part} pairs" for part in PARTS
             if counts[part] < PAIRS[part]]  # fmt: skip
    return {
        "files": {"speed limits": hashlib.sha256("\n".join(marks).encode()).hexdigest()},
        "lossy": False,
        "note": f"few signs, hence {', '.join(short)}" if short else "",
        "counts": counts,
    }


def _cut(signs: list[Sign]) -> dict[str, list[Sign]]:
    """Splits in order of names: frames of one track are alike, so a track is in one split alone."""
    signs = sorted(signs, key=lambda sign: sign.name)
    held: set[str] = set()
    for limit in LIMITS.values():
        tracks = sorted({sign.track for sign in signs if sign.limit == limit and sign.track})
        order = hash_order(identities("gtsrb-speed/track", tracks), "gtsrb-speed/val")
        held.update(tracks[at] for at in order[: round(VAL_SHARE * len(tracks))])
    return {
        "train": [sign for sign in signs if sign.track and sign.track not in held],
        "val": [sign for sign in signs if sign.track in held],
        "test": [sign for sign in signs if not sign.track],
    }


def _download(folder: Path) -> None:
    from torchvision.datasets import GTSRB

    for split in ("train", "test"):
        GTSRB(folder, split=split, download=True)


_SIGNS = Kind(
    name="gtsrb-speed",
    version=1,
    spec=comparison_spec(["speed limit"], (3, SIDE, SIDE)),
    fill=fill,
    accepted=ACCEPTED,
    source="https://benchmark.ini.rub.de/gtsrb_dataset.html, downloaded by torchvision",
    download=_download,
)
SHELVES = {"gtsrb-speed": _SIGNS.shelf}

DATASETS = (
    dataset(
        _SIGNS,
        Card(
            title="Speed limits in photographs of traffic signs, ranked by their number",
            licence="none stated; its authors ask to be cited",
            citation=(
                "J. Stallkamp, M. Schlipsing, J. Salmen, C. Igel: Man vs. Computer: Benchmarking "
                "Machine Learning Algorithms for Traffic Sign Recognition. Neural Networks 32, "
                "2012."
            ),
            source=_SIGNS.source,
            size="4,000 train, 400 validation, 2,000 test pairs of signs; 32x32 RGB",
            note=(
                "+1 means that the first shows the larger number (20 to 120 km/h); pairs are drawn "
                "by hash. Train and validation share no track; test is the official test part. "
                "Which pairs come depends on the copy: the download has fewer training photographs "
                "than GTSRB_Final_Training."
            ),
        ),
        (PAIRS["train"], PAIRS["val"], PAIRS["test"]),
    ),
)
