"""A folder, a tar and a zip of the same odd pictures: the same lines, and the rest is read."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from harness.common.errors import UserError, split
from harness.config.dataset import Picture
from harness.datasets.files.source_files import find_files
from harness.datasets.mistakes import Mistakes
from harness.datasets.pictures.formats import is_picture
from harness.datasets.remarks import Remarks
from harness.datasets.walk import LARGEST
from tests.support.archives import write_archive
from tests.support.sources import read_pictures, write_folder

FORM = Picture(channels=3, size=(90, 90))


def stored(side: int = 90, form: str = "PNG", **options) -> bytes:
    """Noise: of 90 pixels a side it is large enough for a thread, of 40 it is not."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def damaged_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    blob = bytearray(stored(form="JPEG", exif=exif, quality=95))
    at = blob.index(b"\x01\x12")
    blob[at + 4 : at + 8] = b"\0\0\xff\xff"
    return bytes(blob)


ODD = {
    "a/cut.png": (stored()[:-5000], "is not a whole PNG"),
    "a/empty.png": (b"", "is empty"),
    "a/small.png": (stored(40), "is 40x40 pixels; give images of 90x90"),
    "a/text.png": (b"no picture\n" * 2000, "is a text file"),
    "b/bomb.ppm": (b"P6\n100000 100000\n255\n" + bytes(100), "unpacks to 10,000,000,000 pixels"),
    "b/web.jpg": (b"<!DOCTYPE html>" + b" " * 20_000, "is a web page"),
}
"""Name → file, and the begin of its line."""
GOOD = {f"a/{number:02d}.png": stored() for number in range(20)} | {"b/0.jpg": damaged_exif()}


@pytest.mark.parametrize("place", ["", "a.tar", "a.tar.gz", "a.zip"])
def test_every_odd_picture_is_a_line_and_the_others_are_read(place, tmp_path):
    files = dict(sorted((GOOD | {name: blob for name, (blob, _) in ODD.items()}).items()))
    source = tmp_path / "source"
    if place:
        write_archive(source / place, files)
    else:
        write_folder(source, files)
    mistakes, remarks = Mistakes(str(source)), Remarks()
    found = find_files(source, is_picture, LARGEST, mistakes)
    read = [file.name for file, _ in read_pictures(found, FORM, mistakes, remarks)]
    assert read == sorted(GOOD)
    assert remarks.note() == "pictures with damaged metadata, ignored: 1"
    with pytest.raises(UserError) as caught:
        mistakes.check()
    below = f"{source / place}: " if place else f"{source}/"
    lines = [str(error).removeprefix(below) for error in split(caught.value)]
    assert len(lines) == len(ODD)
    for line, (name, (_, begin)) in zip(lines, sorted(ODD.items()), strict=True):
        assert line.startswith(f"{name}: {begin}"), line
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        [place] if place else [name[2:] for name in files]
    )  # nothing is unpacked
