"""Labelled pictures that are compared by values of their labels, in pairs drawn by hash."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.datasets.examples import Found, Pieces, Source
from harness.datasets.hashing import name_ids, unequal_pairs


def only_compared(source: Source, found: Found) -> Found:
    """Leave out the pictures of labels that are not compared."""
    compare = source.manifest.compare
    if compare is None:
        return found
    kept = [
        number
        for number, example in enumerate(found.examples)
        if found.classes[example.label] in compare.values
    ]
    read = found.read

    def read_kept(wanted: Collection[int]) -> Pieces:
        place = {kept[number]: number for number in wanted}
        return ((place[number], field, values) for number, field, values in read(list(place)))

    return replace(found, examples=[found.examples[n] for n in kept], read=read_kept)


def draw_pairs(
    source: Source, part: str, values: NDArray[Any], names: list[str]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw pairs of pictures of different value; return ``[n, 4]`` and their ids."""
    manifest, compare = source.manifest, source.manifest.compare
    assert compare is not None
    wanted = compare.pairs.get(part, 0)  # type: ignore[call-overload]
    if wanted and len(np.unique(values)) < 2:
        what = f"has no two {part} pictures that differ in {compare.attribute}"
        raise UserError(str(source.folder), what, "give more of the set")
    pairs = unequal_pairs(f"{manifest.name}/{part}", values, wanted)
    if len(pairs) < wanted:
        source.remarks.say(f"few pictures, hence {len(pairs):,} of {wanted:,} {part} pairs")
    keys = (f"{names[first]},{names[second]}" for first, second, _ in pairs.tolist())
    y = np.column_stack([pairs, np.zeros(len(pairs), dtype=np.int64)])
    return y, name_ids(manifest.name, keys)
