"""Photographs of speed limits (GTSRB), ranked by the number on the sign."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from harness.common.errors import UserError
from harness.common.files import save_array
from harness.datasets.base import Card, comparison_spec
from harness.datasets.findings import inspect_arrays
from harness.datasets.hashing import hash_order, name_ids, unequal_pairs
from harness.datasets.ranking.gtsrb_files import (
    ACCEPTED,
    LIMITS,
    SIDE,
    Sign,
    read_signs,
    read_test_classes,
)
from harness.datasets.ranking.source import PARTS, RankingSource, make_dataset
from harness.datasets.remarks import join_notes

PAIRS = {"train": 4000, "val": 400, "test": 2000}
VAL_SHARE = 0.1


def write_arrays(source: Path, out: Path) -> dict[str, object]:
    """Read the signs, split them by track, draw the pairs, and return fields of the manifest."""
    parts = _split_by_track(list(read_signs(source, read_test_classes(source))))
    counts = {}
    for part, signs in parts.items():
        limits = np.array([sign.limit for sign in signs], dtype=np.int64)
        if len(np.unique(limits)) < 2:
            what = f"has no two {part} signs of different speed limits"
            raise UserError(str(source), what, f"give the whole of {ACCEPTED}")
        pairs = unequal_pairs(f"gtsrb-speed/{part}", limits, PAIRS[part])
        keys = (f"{signs[first].name},{signs[second].name}" for first, second, _ in pairs.tolist())
        save_array(out / f"{part}_x.npy", np.stack([sign.pixels for sign in signs]))
        save_array(
            out / f"{part}_y.npy", np.column_stack([pairs, np.zeros(len(pairs), dtype=np.int64)])
        )
        save_array(out / f"{part}_ids.npy", name_ids("gtsrb-speed", keys))
        counts[part] = len(pairs)
    digests = sorted(f"{sign.name} {sign.digest}" for signs in parts.values() for sign in signs)
    short = [f"{counts[part]:,} of {PAIRS[part]:,} {part} pairs" for part in PARTS
             if counts[part] < PAIRS[part]]  # fmt: skip
    names = {part: [sign.name for sign in own] for part, own in parts.items()}
    findings, sentences = inspect_arrays(out, names)
    few = f"few signs, hence {', '.join(short)}" if short else ""
    return {
        "files": {"speed limits": hashlib.sha256("\n".join(digests).encode()).hexdigest()},
        "lossy": False,
        "note": join_notes(few, *sentences),
        **findings,
        "counts": counts,
    }


def _split_by_track(signs: list[Sign]) -> dict[str, list[Sign]]:
    """Split the signs, in order of names; frames of a track are similar, so no track is in two."""
    signs = sorted(signs, key=lambda sign: sign.name)
    val_tracks: set[str] = set()
    for limit in LIMITS.values():
        tracks = sorted({sign.track for sign in signs if sign.limit == limit and sign.track})
        order = hash_order(name_ids("gtsrb-speed/track", tracks), "gtsrb-speed/val")
        val_tracks.update(tracks[row] for row in order[: round(VAL_SHARE * len(tracks))])
    return {
        "train": [sign for sign in signs if sign.track and sign.track not in val_tracks],
        "val": [sign for sign in signs if sign.track in val_tracks],
        "test": [sign for sign in signs if not sign.track],
    }


def _download(folder: Path) -> None:
    from torchvision.datasets import GTSRB

    for split in ("train", "test"):
        GTSRB(folder, split=split, download=True)


_SIGNS = RankingSource(
    name="gtsrb-speed",
    version=1,
    spec=comparison_spec(["speed limit"], (3, SIDE, SIDE)),
    write_arrays=write_arrays,
    accepted=ACCEPTED,
    origin="https://benchmark.ini.rub.de/gtsrb_dataset.html, downloaded by torchvision",
    download=_download,
)
CACHE_ENTRIES = {"gtsrb-speed": _SIGNS.cache_entry}

DATASETS = (
    make_dataset(
        _SIGNS,
        Card(
            title="Speed limits in photographs of traffic signs, ranked by their number",
            license="none stated; its authors ask to be cited",
            citation=(
                "J. Stallkamp, M. Schlipsing, J. Salmen, C. Igel: Man vs. Computer: Benchmarking "
                "Machine Learning Algorithms for Traffic Sign Recognition. Neural Networks 32, "
                "2012."
            ),
            source=_SIGNS.origin,
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
