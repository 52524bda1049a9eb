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
from harness.datasets.image_files import PictureForm, read_picture
from harness.datasets.mistakes import Mistakes
from harness.datasets.source_files import SourceFile, find_files

SIDE = 32
LIMITS = {0: 20, 1: 30, 2: 50, 3: 60, 4: 70, 5: 80, 7: 100, 8: 120}
"""Class of GTSRB → speed limit on the sign in km/h."""
LARGEST = 1 << 22
"""Limit of a file in bytes; the largest photograph has 200 kB, the test class table 400 kB."""

_FORM = PictureForm(3, ("PPM",), resized=(SIDE, SIDE))

Wanted = Callable[[re.Match[str]], object]
"""Test of whether a file is to be read, by the match of its name."""

_FILE = re.compile(
    r"(?:\./)?(?:gtsrb/)?(?:GTSRB/)?(?:"
    r"(?P<table>(?:Final_Test/(?:Images/)?)?GT-final_test\.csv)|"
    r"(?:Final_Training/Images|Training)/(?P<label>\d{5})/(?P<track>\d{5})_(?P<frame>\d{5})\.ppm|"
    r"Final_Test/Images/(?P<test>\d{5}\.ppm))"
)
_FOLDERS = ("gtsrb", "final_training", "training", "final_test")
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


def _read_files(
    source: Path, wanted: Wanted, mistakes: Mistakes
) -> Iterator[tuple[re.Match[str], SourceFile]]:
    """Yield match and file of each wanted file, in folders and archives."""

    def match_wanted(name: str) -> re.Match[str] | None:
        match = _FILE.fullmatch(name)
        return match if match is not None and wanted(match) else None

    for file in find_files(source, _FOLDERS, match_wanted, LARGEST, mistakes):
        match = match_wanted(file.name)
        assert match is not None  # find_files yields matching names only
        yield match, file


def read_test_classes(source: Path) -> dict[str, int]:
    """Read the class of each test photograph from the table that was published later.

    Its columns may be separated by commas, and it may begin with a byte order mark.
    """
    mistakes = Mistakes(str(source))
    tables = list(_read_files(source, lambda match: match["table"], mistakes))
    mistakes.check()
    if not tables:
        raise UserError(str(source), "has no GT-final_test.csv", f"give a folder with {ACCEPTED}")
    file = tables[0][1]
    classes: dict[str, int] = {}
    try:
        text = file.read().decode("utf-8-sig")
        comma = ";" if ";" in text.partition("\n")[0] else ","
        for row in csv.DictReader(io.StringIO(text), delimiter=comma):
            name, label = row["Filename"], int(row["ClassId"])
            if classes.setdefault(name, label) != label:
                what = f"gives {name} the classes {classes[name]} and {label}"
                raise UserError(file.where, what, "leave one of the rows")
    except KeyError as error:
        what = f"has no column {error.args[0]}"
        raise UserError(file.where, what, "give the original file") from error
    except (ValueError, TypeError, csv.Error) as error:
        what = f"is not a table with Filename and ClassId ({error})"
        raise UserError(file.where, what, "give the original file") from error
    return classes


def read_signs(source: Path, table: Mapping[str, int]) -> Iterator[Sign]:
    """Yield every photograph of a speed limit sign.

    Raises:
        UserError: after the last one, all mistakes at once.
    """
    seen: dict[str, str] = {}
    mistakes = Mistakes(str(source))

    def class_of(match: re.Match[str]) -> int | None:
        return table.get(match["test"]) if match["test"] else int(match["label"] or -1)

    for match, file in _read_files(source, lambda match: class_of(match) in LIMITS, mistakes):
        test, limit = match["test"], LIMITS[class_of(match) or 0]
        track = "" if test else f"{match['label']}/{match['track']}"
        name = f"test/{test}" if test else f"{track}_{match['frame']}.ppm"
        with mistakes.gather():
            if name in seen:
                raise UserError(file.where, f"is also {seen[name]}", "leave one of them")
            seen[name] = file.where
            blob = file.read()
            pixels = read_picture(blob, file.where, _FORM).pixels
            yield Sign(name, limit, track, pixels, hashlib.sha256(blob).hexdigest())
    mistakes.check()
