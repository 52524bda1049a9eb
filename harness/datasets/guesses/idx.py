"""Guess of IDX files, as MNIST has them."""

from __future__ import annotations

import gzip
import re
import struct
import zlib

from harness.config.dataset_fields import Part
from harness.datasets.guesses.survey import (
    Guess,
    Json,
    Survey,
    part_of,
    sized_picture,
    split_fields,
)

IMAGES = re.compile(r"(.*)images([.-])idx3-ubyte(?:\.gz)?", re.I)


def guess(files: Survey) -> Guess | None:
    """Return the guess that names of images and labels differ in these words alone."""
    pairs: dict[Part, Json] = {}
    size: tuple[int, int] | None = None
    outer: set[str] = set()
    known = {name.removesuffix(".gz") for name in files.names}
    for name in files.names:
        folder, _, base = name.rpartition("/")
        match, part = IMAGES.fullmatch(base), part_of(base)
        if match is None or part is None:
            continue
        x, y = base.removesuffix(".gz"), f"{match[1]}labels{match[2]}idx1-ubyte"
        if (f"{folder}/{y}" if folder else y) in known:
            pairs[part] = {"x": x, "y": y}
            outer.update(folder.split("/") if folder else ())
            size = _size(files.read([name])[name]) or size
    if not pairs or size is None:
        return None
    shares, cut = split_fields(pairs)
    layout: Json = {"below": sorted(outer)} if outer else {}
    picture, form = sized_picture(1, *size)
    said = f"IDX files of {' and '.join(pairs)}: {form}"
    return Guess(
        "classification",
        {"idx": {**layout, "files": pairs}},
        {**picture, **shares},
        (said, "classes: those of the labels; name them in the manifest", *cut),
        of_files=False,
    )


def _size(blob: bytes) -> tuple[int, int] | None:
    """Return width and height of an IDX file of images."""
    try:
        head = zlib.decompressobj(31).decompress(blob, 16) if blob[:2] == b"\x1f\x8b" else blob
        magic, _, height, width = struct.unpack(">4I", head[:16])
    except (zlib.error, struct.error, gzip.BadGzipFile):
        return None
    return (width, height) if magic == 0x0803 else None
