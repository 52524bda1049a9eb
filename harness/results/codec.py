"""Packed arrays of a record: per-example bits, confusion matrices, edited comparisons.

A record is JSON, so an array is base64 text: of ``numpy.packbits`` for bits, and of a zlib stream
of little-endian numbers in C order for everything else. Records come from pull requests: a reader
knows from the record's own fields how many bytes to expect, refuses more than ``MOST_BYTES``, and
inflates at most one byte more. It raises ``ValueError`` where the text is not what was declared.
"""

from __future__ import annotations

import base64
import hashlib
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.judge.flipped import BINS, Flipped
from harness.judge.maps import Aimed

Array = NDArray[Any]
Bits = NDArray[np.bool_]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
Packed = dict[str, int | str | list[int | float] | list[str]]
Part = Mapping[str, object]
"""Packed field of a record in JSON form: ``outcomes``, ``confusions`` or ``flips``."""

MOST_BYTES = 1 << 28
"""Largest array that is unpacked; 2,000 images of 150 classes fit in it."""

OUTCOMES = ("before", "after", "success", "eligible")
"""Bits per example: right before and after the attack, fooled, and counted for that."""


def pack_bits(bits: Array) -> str:
    """Return bits as text: eight a byte, the first one highest, zeros at the end.

    >>> pack_bits(np.array([True, False, True]))
    'oA=='
    """
    return base64.b64encode(np.packbits(bits).tobytes()).decode()


def unpack_bits(text: object, n: object) -> Bits:
    """Return bool ``[n]``, the inverse of ``pack_bits``.

    >>> unpack_bits("oA==", 3).tolist()
    [True, False, True]
    """
    count, raw = _size(n), _raw(text)
    if len(raw) != -(-count // 8):
        raise ValueError(f"{len(raw)} bytes do not hold {count} bits")
    return np.unpackbits(np.frombuffer(raw, np.uint8), count=count).astype(bool)


def pack_counts(counts: Array) -> str:
    """Return counts of any shape as text: uint32, deflated."""
    return _deflated(counts, "<u4")


def unpack_counts(text: object, shape: object) -> NDArray[np.uint32]:
    """Return uint32 of a shape, the inverse of ``pack_counts``."""
    return _inflated(text, "<u4", shape).astype(np.uint32)


def pack_moves(moves: Array) -> str:
    """Return pooled counts ``[K + 1, K + 1]`` as text: uint64, which no eval set overflows."""
    return _deflated(moves, "<u8")


def unpack_moves(text: object, classes: object) -> Counts:
    """Return int64 ``[K + 1, K + 1]`` for K classes, the inverse of ``pack_moves``."""
    side = _size(classes) + 1
    return _inflated(text, "<u8", (side, side)).astype(np.int64)


def pack_distances(distances: Floats) -> str:
    """Return the distance of each example as text: float32, deflated; infinite where there is none.

    They are rounded up, so that no radius gains an example by the rounding.
    """
    return _deflated(-_rounded_down(-distances), "<f4")


def unpack_distances(part: Part) -> Floats | None:
    """Return float64 ``[N]``, the inverse of ``pack_distances``; ``None`` in other records.

    Args:
        part: the record's ``outcomes``.
    """
    if "distances" not in part:
        return None
    found = _inflated(part["distances"], "<f4", [_field(part, "n")]).astype(np.float64)
    if not (found >= 0).all():  # or not a number
        raise ValueError("a distance is below 0, or not a number")
    return found


def pack_radii(radii: Floats) -> str:
    """Return the certified radius of each example as text: float32, deflated, rounded down."""
    return _deflated(_rounded_down(radii), "<f4")


def unpack_radii(part: Part) -> Floats | None:
    """Return float64 ``[N]``, the inverse of ``pack_radii``; ``None`` in other records.

    Args:
        part: the record's ``outcomes``.
    """
    if "radii" not in part:
        return None
    found = _inflated(part["radii"], "<f4", [_field(part, "n")]).astype(np.float64)
    if not (np.isfinite(found) & (found >= 0)).all():
        raise ValueError("a certified radius is below 0, or not finite")
    return found


def _rounded_down(values: Floats) -> NDArray[np.float32]:
    """Return the largest float32 numbers that are not above the values."""
    rounded = values.astype(np.float32)
    above = rounded > values
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded


def pack_outcomes(outcomes: Mapping[str, Array], ids: Array) -> dict[str, str | int]:
    """Return a record's ``outcomes``.

    Args:
        outcomes: name → bool ``[N]``.
        ids: int64 ``[N]``, the examples'; the record keeps a digest of them.
    """
    digest = hashlib.sha256(ids.astype("<i8").tobytes()).hexdigest()
    packed = {name: pack_bits(bits) for name, bits in sorted(outcomes.items())}
    return {"ids": digest, "n": len(ids), **packed}


def unpack_outcomes(part: Part) -> dict[str, Bits]:
    """Return name → bool ``[N]``, of the names in ``OUTCOMES`` that a record has."""
    n = _field(part, "n")
    return {name: unpack_bits(part[name], n) for name in OUTCOMES if part.get(name)}


def pack_aimed(aimed: Aimed) -> str:
    """Return the pixels of each image that have a target as text, counts ``[N, 3]``."""
    return pack_counts(np.column_stack((aimed.asked, aimed.reached, aimed.wrong)))


def unpack_aimed(part: Part) -> Aimed | None:
    """Return the pixels that have a target, or ``None`` in records that do not count them.

    Args:
        part: the record's ``confusions``.
    """
    if "targets" not in part:
        return None
    shape = _field(part, "shape")
    images = shape[0] if isinstance(shape, list) and shape else None
    counts = unpack_counts(part["targets"], [images, 3]).astype(np.int64)
    return Aimed(*counts.T)


def unpack_confusions(part: Part, role: str) -> NDArray[np.uint32]:
    """Return uint32 ``[N, K, K + 1]``, the confusion matrices of one role of a record.

    Args:
        part: the record's ``confusions``; its ``shape`` is ``[N, K, K + 1]``.
        role: ``before``, ``after`` or ``eight_bit``.
    """
    counts = unpack_counts(_field(part, role), _field(part, "shape"))
    if counts.ndim != 3 or counts.shape[2] != counts.shape[1] + 1:
        raise ValueError(f"confusions have shape {counts.shape}, not (N, K, K + 1)")
    return counts


@dataclass(frozen=True)
class Flip:
    """Comparisons that one attack edited on one seed, unpacked.

    Attributes:
        n: comparisons of the training set.
        attributes: their names, empty in records that have none.
        rows: int64 ``[k]``, numbers of the edited ones, ascending.
        places: float64 ``[k]``, the clean ranker's decision value of each edited one as a share of
            the last edge, −1 … 1, to three digits, for pictures; NaN where it is not finite.
        edges: float64 ``[BINS + 1]``, of the bins that the counts below are of.
        train: int64 ``[BINS]``, all training comparisons.
        edits: int64 ``[BINS]``, the edited ones.
        wrong: int64 ``[BINS]``, test comparisons that the clean ranker has wrong.
        attacked: int64 ``[BINS]``, test comparisons that only the attacked ranker has wrong.
    """

    n: int
    attributes: tuple[str, ...]
    rows: Counts
    places: Floats
    edges: Floats
    train: Counts
    edits: Counts
    wrong: Counts
    attacked: Counts


def pack_flips(found: Flipped, attributes: Sequence[str]) -> Packed:
    """Return a record's ``flips``: bits, places in 16 bits for pictures, counts as they are."""
    with np.errstate(invalid="ignore"):
        places = found.decisions / found.edges[-1]
    return {
        "n": len(found.flipped),
        "attributes": [str(name) for name in attributes],
        "flipped": pack_bits(found.flipped),
        "places": _deflated(np.where(np.isfinite(places), places, np.nan), "<f2"),
        "edges": found.edges.tolist(),
        "train": found.train.tolist(),
        "edits": found.edits.tolist(),
        "wrong": found.wrong.tolist(),
        "attacked": found.attacked.tolist(),
    }


def unpack_flips(part: Part) -> Flip:
    """Return the inverse of ``pack_flips``; reads the records before it, too.

    Those hold ``decisions``, the decision values themselves in 16 bits, and no ``edits``: values
    above 65,504 are infinite there, and a value beside an edge may be counted in the next bin.
    """
    n = _size(_field(part, "n"))
    rows = np.flatnonzero(unpack_bits(_field(part, "flipped"), n)).astype(np.int64)
    try:
        edges = np.array(_numbers(part, "edges", BINS + 1, (int, float)), np.float64)
    except OverflowError as error:
        raise ValueError("an edge is too large") from error
    if not np.isfinite(edges).all() or (np.diff(edges) < 0).any() or edges[-1] <= 0:
        raise ValueError("edges do not ascend to a number above 0")
    if "decisions" in part:
        values = _inflated(part["decisions"], "<f2", (len(rows),)).astype(np.float64)
        values = np.clip(values, edges[0], edges[-1])
        places = values / edges[-1]
        edits = np.histogram(values[~np.isnan(values)], edges)[0].astype(np.int64)
    else:
        places = _inflated(_field(part, "places"), "<f2", (len(rows),)).astype(np.float64)
        edits = _counts(part, "edits")
    if (np.abs(places) > 1).any():
        raise ValueError("a place lies outside the edges")
    attributes = part.get("attributes", [])
    if not isinstance(attributes, list):
        raise ValueError("attributes are not a list")
    return Flip(
        n=n,
        attributes=tuple(map(str, attributes)),
        rows=rows,
        places=places,
        edges=edges,
        edits=edits,
        **{name: _counts(part, name) for name in ("train", "wrong", "attacked")},
    )


def _deflated(array: Array, dtype: str) -> str:
    return base64.b64encode(zlib.compress(array.astype(dtype).tobytes(), 9)).decode()


def _inflated(text: object, dtype: str, shape: object) -> Array:
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        raise ValueError("a shape is a list of sizes")
    sides = tuple(_size(side) for side in shape)
    size = _size(math.prod(sides) * np.dtype(dtype).itemsize)
    stream, raw = zlib.decompressobj(), _raw(text)
    try:
        data = stream.decompress(raw, size + 1)
    except zlib.error as error:
        raise ValueError(f"not a zlib stream: {error}") from error
    if len(data) != size or not stream.eof or stream.unused_data:
        raise ValueError(f"expected {size} bytes, and the stream's end after them")
    return np.frombuffer(data, dtype).reshape(sides)


def _raw(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("packed arrays are text")
    return base64.b64decode(text, validate=True)  # its error is a ValueError


def _size(found: object) -> int:
    if not isinstance(found, int | np.integer) or not 0 <= found <= MOST_BYTES:
        raise ValueError(f"expected a size of 0 to {MOST_BYTES:,}, found {str(found)[:40]}")
    return int(found)


def _field(part: Part, name: str) -> object:
    if name not in part:
        raise ValueError(f"has no {name}")
    return part[name]


def _counts(part: Part, name: str) -> Counts:
    numbers = _numbers(part, name, BINS, (int,))
    return np.array([_size(number) for number in numbers], np.int64)


def _numbers(part: Part, name: str, length: int, kinds: tuple[type, ...]) -> list[float]:
    found = _field(part, name)
    if not isinstance(found, list) or len(found) != length:
        raise ValueError(f"{name} is not a list of {length} numbers")
    if not all(isinstance(number, kinds) for number in found):
        raise ValueError(f"{name} holds something other than {kinds[-1].__name__}")
    return found
