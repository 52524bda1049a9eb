"""Choice of the pictures that show where networks look, by conditions that a reader can check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.judge.attention import Looks, areas

Array = NDArray[Any]
Bits = NDArray[np.bool_]

MOST = 6
"""Most pictures of an album."""


@dataclass(frozen=True)
class AttentionFrames:
    """First examples of a cell, with the maps of its network.

    Attributes:
        index: place of each in the test split, ``[n]``.
        image: as stored, ``[n, C, H, W]``.
        attacked: float32 of the same shape in [0, 1].
        label: ``[n]``.
        before: classes predicted on the images.
        after: classes predicted on the attacked images.
        target: classes that the attack wants, ``None`` where any wrong one will do.
        classes: names of the classes.
        looks: mode → maps with their boxes.
    """

    index: Array
    image: Array
    attacked: Array
    label: Array
    before: Array
    after: Array
    target: Array | None
    classes: tuple[str, ...]
    looks: Mapping[str, Looks]


@dataclass(frozen=True)
class Score:
    """One network on one example.

    Attributes:
        defense: label of the defence.
        before: class predicted on the image.
        after: class predicted on the attacked image.
        masses: shares of the map: on the object clean and attacked, on the trigger clean and
            attacked; ``None`` without a box.
        conditions: whether (i), (ii) and (iii) hold.
    """

    defense: str
    before: int
    after: int
    masses: tuple[float | None, ...]
    conditions: tuple[bool, ...]


def conditions(frames: AttentionFrames, looks: Looks) -> tuple[Bits, Bits, Bits]:
    """Return where the three conditions hold, each with its prediction.

    (i) The clean image is predicted right, and its map lies on the object. (ii) The attacked image
    is predicted as the attack wants, and its map moves to the trigger. (iii) The attacked image is
    predicted right, and its map lies on the object. Without boxes of objects (i) and (iii) ask for
    the prediction alone.
    """
    known = bool((areas(looks.places.objects) > 0).any())
    right, still = frames.before == frames.label, frames.after == frames.label
    reached = ~still if frames.target is None else ~still & (frames.after == frames.target)
    return (
        right & looks.at_object_clean if known else right,
        reached & looks.at_trigger,
        still & looks.at_object_attacked if known else still,
    )


def choose(met: Sequence[tuple[Bits, Bits, Bits]]) -> tuple[list[int], bool]:
    """Return which examples are shown, and whether they meet the conditions.

    (i) is asked of every network, (ii) of the first, (iii) of at least one of the others. Where no
    example meets all, the first ones are shown.

    Args:
        met: of each network, the undefended one first, where the conditions hold.
    """
    everywhere = np.all([first for first, _, _ in met], axis=0)
    resisted = np.zeros_like(everywhere)
    for _, _, third in met[1:]:
        resisted |= third
    rows = np.flatnonzero(everywhere & met[0][1] & resisted)
    if len(rows):
        return rows[:MOST].tolist(), True
    return list(range(min(MOST, len(everywhere)))), False


def score(defense: str, frames: AttentionFrames, mode: str, row: int) -> Score:
    """Return the figures of one network on one example."""
    looks = frames.looks[mode]
    parts = (
        *(looks.object_clean, looks.object_attacked),
        *(looks.trigger_clean, looks.trigger_attacked),
    )
    masses = (float(part.mass[row]) for part in parts)
    return Score(
        defense,
        int(frames.before[row]),
        int(frames.after[row]),
        tuple(None if np.isnan(mass) else mass for mass in masses),
        tuple(bool(holds[row]) for holds in conditions(frames, looks)),
    )
