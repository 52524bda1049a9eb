"""Photographs of speed limits (GTSRB), ranked by the number on the sign."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import (
    Card,
    comparison_spec,
    hash_order,
    identities,
    unequal_pairs,
)
from harness.datasets.compared import PARTS, Kind, dataset, save
from harness.datasets.pictures import archives, opened, tar_images, unreadable
from harness.errors import UserError

SIDE = 32
LIMITS = {0: 20, 1: 30, 2: 50, 3: 60, 4: 70, 5: 80, 7: 100, 8: 120}
"""GTSRB's class → km/h on the sign."""
PAIRS = {"train": 4000, "val": 400, "test": 2000}
VAL_SHARE = 0.1
LARGEST = 1 << 22
"""Bytes of a file; the largest photograph has 200 kB, the table of test classes 400 kB."""

_FILE = re.compile(
    r"(?:\./)?(?:gtsrb/)?(?:GTSRB/)?(?:"
    r"(?P<table>(?:Final_Test/(?:Images/)?)?GT-final_test\.csv)|"
    r"(?:Final_Training/Images|Training)/(?P<label>\d{5})/(?P<track>\d{5})_\d{5}\.ppm|"
    r"Final_Test/Images/(?P<test>\d{5}\.ppm))"
)
_ACCEPTED = (
    "GTSRB/Final_Training/Images/*/*.ppm, GTSRB/Final_Test/Images/*.ppm and "
    "GTSRB/Final_Test/GT-final_test.csv (also in .tar.* archives)"
)


@dataclass(frozen=True)
class Sign:
    """A photograph: its name, the number on it, and the drive past a sign that it is from."""

    name: str
    limit: int
    track: str
    pixels: NDArray[np.uint8]
    digest: str


def fill(source: Path, out: Path) -> dict[str, object]:
    """Read the signs with a speed limit, cut them by track, draw the pairs, and store them."""
    parts = _cut(list(_signs(source, _table(source))))
    counts = {}
    for part, signs in parts.items():
        limits = np.array([sign.limit for sign in signs], dtype=np.int64)
        if len(np.unique(limits)) < 2:
            what = f"has no two {part} signs of different speed limits"
            raise UserError(str(source), what, f"give the whole of {_ACCEPTED}")
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


def _files(source: Path) -> Iterator[tuple[str, str, bytes]]:
    """Name, place for messages, and content of the set's files, in the folder and in archives."""
    try:
        for path in sorted(source.rglob("*")):
            name = path.relative_to(source).as_posix()
            if _wanted(name) and path.is_file():
                yield name, str(path), path.read_bytes()
        tars = archives(source)
    except OSError as error:
        raise unreadable(source, error) from error
    for archive in tars:
        for name, blob in tar_images(archive, _wanted, LARGEST):
            yield name, f"{archive}: {name}", blob


def _wanted(name: str) -> bool:
    """Whether a file may matter: signs without a speed limit are not even read."""
    match = _FILE.fullmatch(name)
    return match is not None and (match["label"] is None or int(match["label"]) in LIMITS)


def _table(source: Path) -> dict[str, int]:
    """Test photograph → class, of the table that the benchmark published after it was over."""
    for name, where, blob in _files(source):
        match = _FILE.fullmatch(name)
        if match is None or match["table"] is None:
            continue
        try:
            rows = csv.DictReader(io.StringIO(blob.decode("ascii")), delimiter=";")
            return {row["Filename"]: int(row["ClassId"]) for row in rows}
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            what = f"is not a table with Filename and ClassId ({error})"
            raise UserError(where, what, "give the original file") from error
    raise UserError(str(source), "has no GT-final_test.csv", f"give a folder with {_ACCEPTED}")


def _signs(source: Path, table: Mapping[str, int]) -> Iterator[Sign]:
    """Every photograph of a speed limit; test photographs have no track."""
    seen: dict[str, str] = {}
    for path, where, blob in _files(source):
        match = _FILE.fullmatch(path)
        if match is None or match["table"] is not None:
            continue
        label = table.get(match["test"]) if match["test"] else int(match["label"])
        if label not in LIMITS:
            continue
        track = "" if match["test"] else f"{match['label']}/{match['track']}"
        name = f"test/{match['test']}" if match["test"] else f"{match['label']}/{Path(path).name}"
        if name in seen:
            raise UserError(where, f"is also {seen[name]}", "leave one of them")
        seen[name] = where
        yield Sign(
            name, LIMITS[label], track, _pixels(blob, where), hashlib.sha256(blob).hexdigest()
        )


def _pixels(blob: bytes, where: str) -> NDArray[np.uint8]:
    """Uint8 ``[3, 32, 32]``; other sizes are resized, nothing is cut off."""
    from PIL import Image

    with opened(blob, where, None, ("PPM",)) as image:
        small = image.convert("RGB")
        if small.size != (SIDE, SIDE):
            small = small.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        return np.asarray(small).transpose(2, 0, 1)


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
    accepted=_ACCEPTED,
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
    ),
)
