"""Reader of GTSRB's photographs of speed limit signs, in folders and in archives."""

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
from harness.datasets.image_files import list_archives, read_rgb, read_tar, unreadable_error

SIDE = 32
LIMITS = {0: 20, 1: 30, 2: 50, 3: 60, 4: 70, 5: 80, 7: 100, 8: 120}
"""Class of GTSRB → speed limit on the sign in km/h."""
LARGEST = 1 << 22
"""Limit of a file in bytes; the largest photograph has 200 kB, the test class table 400 kB."""

Wanted = Callable[[re.Match[str]], object]
"""Test of whether a file is to be read, by the match of its name."""

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
    """A photograph of a speed limit sign.

    Attributes:
        name: unique name.
        limit: speed limit on the sign in km/h.
        track: sequence of photographs of one physical sign; empty for test photographs.
        pixels: uint8 ``[3, 32, 32]``.
        digest: SHA-256 of the file.
    """

    name: str
    limit: int
    track: str
    pixels: NDArray[np.uint8]
    digest: str


def _read_files(source: Path, wanted: Wanted) -> Iterator[tuple[re.Match[str], str, bytes]]:
    """Yield match, name for messages and content of each wanted file, in folders and archives."""

    def match_wanted(name: str) -> re.Match[str] | None:
        match = _FILE.fullmatch(name)
        return match if match is not None and wanted(match) else None

    try:
        for path in sorted(source.rglob("*")):
            match = match_wanted(path.relative_to(source).as_posix())
            if match is not None and path.is_file():
                yield match, str(path), path.read_bytes()
        tars = list_archives(source)
    except OSError as error:
        raise unreadable_error(source, error) from error
    for archive in tars:
        for name, blob in read_tar(archive, match_wanted, LARGEST):
            match = match_wanted(name)
            assert match is not None  # read_tar yields matching names only
            yield match, f"{archive}: {name}", blob


def read_test_classes(source: Path) -> dict[str, int]:
    """Read the class of each test photograph from the table that was published later."""
    for _, where, blob in _read_files(source, lambda match: match["table"]):
        try:
            rows = csv.DictReader(io.StringIO(blob.decode("ascii")), delimiter=";")
            return {row["Filename"]: int(row["ClassId"]) for row in rows}
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            what = f"is not a table with Filename and ClassId ({error})"
            raise UserError(where, what, "give the original file") from error
    raise UserError(str(source), "has no GT-final_test.csv", f"give a folder with {ACCEPTED}")


def read_signs(source: Path, table: Mapping[str, int]) -> Iterator[Sign]:
    """Yield every photograph of a speed limit sign."""
    seen: dict[str, str] = {}

    def class_of(match: re.Match[str]) -> int | None:
        return table.get(match["test"]) if match["test"] else int(match["label"] or -1)

    for match, where, blob in _read_files(source, lambda match: class_of(match) in LIMITS):
        test, limit = match["test"], LIMITS[class_of(match) or 0]
        track = "" if test else f"{match['label']}/{match['track']}"
        name = f"test/{test}" if test else f"{track}_{match['frame']}.ppm"
        if name in seen:
            raise UserError(where, f"is also {seen[name]}", "leave one of them")
        seen[name] = where
        pixels = read_rgb(blob, where, (SIDE, SIDE), ("PPM",))
        yield Sign(name, limit, track, pixels, hashlib.sha256(blob).hexdigest())
