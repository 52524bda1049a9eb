"""Guess of NumPy files: ``.npy`` by name, or the arrays of one ``.npz``."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from harness.config.dataset_fields import Part
from harness.datasets.guesses.survey import (
    Guess,
    Json,
    Survey,
    part_of,
    sized_picture,
    split_fields,
)

X = re.compile(r"(?<![a-z])(x|data|images?|inputs?|features?|pictures?)(?![a-z])", re.I)
Y = re.compile(r"(?<![a-z])(y|labels?|targets?|class(?:es)?)(?![a-z])", re.I)
BROKEN = (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile)

Found = Mapping[str, NDArray[np.generic]]


def guess(files: Survey) -> Guess | None:
    """Return the guess that names of arrays say which are inputs and which labels."""
    archives = [name for name in files.names if name.lower().endswith(".npz")]
    plain = [name for name in files.names if name.lower().endswith(".npy")]
    if len(archives) == 1:
        blob = files.read(archives).get(archives[0], b"")
        return _guess(_load_archive(blob), archives[0])
    return _guess(_load_files(files.read(plain)), None) if plain else None


def _load_archive(blob: bytes) -> Found:
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as found:
            return {key: found[key] for key in found.files}
    except BROKEN:
        return {}


def _load_files(blobs: Mapping[str, bytes]) -> Found:
    found = {}
    for name, blob in blobs.items():
        try:
            found[name] = npy.read_array(io.BytesIO(blob), allow_pickle=False)
        except BROKEN:
            continue
    return found


def _guess(found: Found, archive: str | None) -> Guess | None:
    pairs: dict[Part, Json] = {}
    for key, x in found.items():
        match, part = X.search(key.replace("_", " ")), part_of(key)
        if match is None or (part is None and "test" in pairs):
            continue
        labels = [
            other
            for other, y in found.items()
            if Y.search(other.replace("_", " ")) and part_of(other) == part and len(y) == len(x)
        ]
        if len(labels) == 1:
            pairs[part or "test"] = {"x": key, "y": labels[0]}
    if not pairs:
        return None
    first = next(iter(pairs.values()))
    x, y = found[first["x"]], found[first["y"]]
    order, picture, form = _form(x)
    if not order or y.ndim not in (1, 3) or y.dtype.kind not in "iu":
        return None
    task = "classification" if y.ndim == 1 else "segmentation"
    layout: Json = {"files": pairs} | ({} if archive is None else {"archive": archive})
    layout |= {} if order == "nchw" else {"order": order}
    unit = x.dtype.kind == "f"
    layout |= {"values": "unit"} if unit else {}
    shares, cut = split_fields(pairs)
    fields: Json = {**picture, **shares}
    least, most = int(y.min(initial=1)), int(y.max(initial=0))
    if task == "classification":
        layout |= {"label_from": 1} if least == 1 else {}
        fields = {"class_count": most - (least == 1) + 1, **fields}
    said = f"arrays of {' and '.join(pairs)}: {form}, values of 0 to {1 if unit else 255}"
    counted = f"classes: {fields.get('class_count', 'name them')}, from the largest label"
    return Guess(task, {"arrays": layout}, fields, (said, counted, *cut), of_files=False)


def _form(x: NDArray[np.generic]) -> tuple[str, Json, str]:
    """Return the order of axes, the key ``picture``, and the form in words; or nothing."""
    match x.shape:
        case (_, 1 | 3 as channels, height, width):
            order = "nchw"
        case (_, height, width, 1 | 3 as channels):
            order = "nhwc"
        case (_, height, width):
            order, channels = "nhw", 1
        case (_, features):
            return "nf", {}, f"{features:,} features"
        case _:
            return "", {}, ""
    return order, *sized_picture(channels, width, height)
