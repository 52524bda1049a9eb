"""GTSRB's photographs of speed limits, in the forms in which people hold them."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.datasets.pictures import archives, rgb, tar_images, unreadable

SIDE = 32
LIMITS = {0: 20, 1: 30, 2: 50, 3: 60, 4: 70, 5: 80, 7: 100, 8: 120}
"""GTSRB's class → km/h on the sign."""
LARGEST = 1 << 22
"""Bytes of a file; the largest photograph has 200 kB, the table of test classes 400 kB."""

Wanted = Callable[[re.Match[str]], object]
"""Whether a file whose name matches is to be read at all."""

_FILE = re.compile(
    r"(?:\./)?(?:gtsrb/)?(?:GTSRB/)?(?:"
    r"(?P<table>(?:Final_Test/(?:Images/)?)?GT-final_test\.csv)|"
    r"(?:Final_Training/Images|Training)/(?P<label>\d{5})/(?P<track>\d{5})_(?P<frame>\d{5})\.ppm|"
    r"Final_Test/Images/(?P<test>\d{5}\.ppm))"
)
ACCEPTED = (
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


def _files(source: Path, wanted: Wanted) -> Iterator[tuple[re.Match[str], str, bytes]]:
    """Name, place for messages, and content of the wanted files, in the folder and in archives."""

    def matched(name: str) -> re.Match[str] | None:
        match = _FILE.fullmatch(name)
        return match if match is not None and wanted(match) else None

    try:
        for path in sorted(source.rglob("*")):
            match = matched(path.relative_to(source).as_posix())
            if match is not None and path.is_file():
                yield match, str(path), path.read_bytes()
        tars = archives(source)
    except OSError as error:
        raise unreadable(source, error) from error
    for archive in tars:
        for name, blob in tar_images(archive, matched, LARGEST):
            match = matched(name)
            assert match is not None  # only such are handed out
            yield match, f"{archive}: {name}", blob


def table_of(source: Path) -> dict[str, int]:
    """Test photograph → class, of the table that the benchmark published after it was over."""
    for _, where, blob in _files(source, lambda match: match["table"]):
        try:
            rows = csv.DictReader(io.StringIO(blob.decode("ascii")), delimiter=";")
            return {row["Filename"]: int(row["ClassId"]) for row in rows}
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            what = f"is not a table with Filename and ClassId ({error})"
            raise UserError(where, what, "give the original file") from error
    raise UserError(str(source), "has no GT-final_test.csv", f"give a folder with {ACCEPTED}")


def signs_of(source: Path, table: Mapping[str, int]) -> Iterator[Sign]:
    """Every photograph of a speed limit; test photographs have no track."""
    seen: dict[str, str] = {}

    def label(match: re.Match[str]) -> int | None:
        return table.get(match["test"]) if match["test"] else int(match["label"] or -1)

    for match, where, blob in _files(source, lambda match: label(match) in LIMITS):
        test, limit = match["test"], LIMITS[label(match) or 0]
        track = "" if test else f"{match['label']}/{match['track']}"
        name = f"test/{test}" if test else f"{track}_{match['frame']}.ppm"
        if name in seen:
            raise UserError(where, f"is also {seen[name]}", "leave one of them")
        seen[name] = where
        pixels = rgb(blob, where, (SIDE, SIDE), ("PPM",))
        yield Sign(name, limit, track, pixels, hashlib.sha256(blob).hexdigest())
