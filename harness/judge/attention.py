"""Attention maps: what of them lies on the object and on the trigger, and where they peak.

A map is a grid of cells over the picture, each of the same size. It is normalised first (its
minimum is 0), so that mass is where a network looks more than at its least important place.
Boxes are int64 ``[N, 4]``: left, top, right and bottom in pixels, right and bottom excluded; a box
without area stands for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.judge.values import Absent, Metrics, Rate, proportion

Array = NDArray[Any]
Bits = NDArray[np.bool_]
Boxes = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_AREA = 0.5
"""Largest share of the picture that a trigger's box may cover; a larger one is no place."""

HALF = 0.5
"""Least mass on the object of a network that looks at it."""

GROWTH = 2.0
"""Least factor by which the trigger raises the mass in its box where a network looks at it."""


def crop_boxes(boxes: Boxes, stored: Sequence[int], shape: Sequence[int]) -> Boxes:
    """Return boxes of stored pictures as boxes of their middle, clipped to it.

    Args:
        boxes: in pixels of the stored pictures.
        stored: shape of these; ends with height and width.
        shape: shape of the middle, which networks see.

    >>> crop_boxes(np.array([[0, 4, 9, 9], [0, 0, 2, 2]]), (10, 10), (6, 6)).tolist()
    [[0, 2, 6, 6], [0, 0, 0, 0]]
    """
    height, width = shape[-2:]
    top, left = (stored[-2] - height) // 2, (stored[-1] - width) // 2
    moved = boxes - np.array([left, top, left, top])
    return np.asarray(np.clip(moved, 0, np.array([width, height, width, height])))


def areas(boxes: Boxes) -> Floats:
    """Return the area of each box in pixels."""
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), np.float64)


def overlapping(first: Boxes, second: Boxes) -> Bits:
    """Return whether two boxes of each example have a pixel in common.

    >>> one = np.array([[0, 0, 2, 2]])
    >>> overlapping(one, one + 1).tolist(), overlapping(one, one + 2).tolist()
    ([True], [False])
    """
    low, high = np.maximum(first, second)[:, :2], np.minimum(first, second)[:, 2:]
    return np.asarray((low < high).all(axis=1))


@dataclass(frozen=True)
class Places:
    """Boxes of an eval subset that maps are compared with.

    Attributes:
        objects: box of each example's object; without area where there is none to be judged.
        triggers: box of what the attack changed; likewise.
        shape: height and width of the pictures.
        dropped: sentences on the examples without one of the boxes.
    """

    objects: Boxes
    triggers: Boxes
    shape: tuple[int, int]
    dropped: tuple[str, ...]

    def take(self, rows: Sequence[int]) -> Places:
        """Return the boxes of some examples."""
        return Places(self.objects[rows], self.triggers[rows], self.shape, self.dropped)


def find_places(objects: Boxes | None, triggers: Boxes, shape: tuple[int, int]) -> Places:
    """Return the boxes that can be judged; what is left out is said.

    Args:
        objects: boxes of the objects in pixels that networks see, clipped to the picture; ``None``
            where the data set has none.
        triggers: boxes of the changes.
        shape: height and width of the pictures.
    """
    none = np.zeros_like(triggers)
    there, unknown = (none, True) if objects is None else (objects, False)
    wide = areas(triggers) > MOST_AREA * shape[0] * shape[1]
    local = (areas(triggers) > 0) & ~wide
    found = areas(there) > 0
    both = found & local & overlapping(there, triggers)
    left_out = {
        "without an object's box inside the picture": ~found & (not unknown),
        "unchanged by the attack": areas(triggers) == 0,
        f"changed all over (more than {MOST_AREA:.0%} of the picture)": wide,
        "whose object's box overlaps the trigger's": both,
    }
    counts = {what: int(rows.sum()) for what, rows in left_out.items()}
    return Places(
        objects=np.where((found & ~both)[:, None], there, none),
        triggers=np.where((local & ~both)[:, None], triggers, none),
        shape=shape,
        dropped=(
            *(["the data set has no boxes of objects"] if unknown else []),
            *(f"{k} of {len(none)} examples {what}" for what, k in counts.items() if k),
        ),
    )


@dataclass(frozen=True)
class Look:
    """Maps of some inputs, compared with one box each.

    Attributes:
        mass: share of the normalised map that lies in the box; NaN without a box, or where all
            cells of the map are equal.
        inside: whether the middle of the largest cell lies in the box.
        near: whether it lies in the box or at most one cell beside it.
    """

    mass: Floats
    inside: Bits
    near: Bits


def is_flat(maps: Array) -> Bits:
    """Return whether all cells of each map ``[N, h, w]`` are equal, so that it has no peak."""
    return np.asarray(maps.max(axis=(1, 2)) == maps.min(axis=(1, 2)))


def look(maps: Array, boxes: Boxes, shape: tuple[int, int]) -> Look:
    """Compare maps ``[N, h, w]`` with boxes in pictures of a height and width."""
    cells = maps.astype(np.float64)
    cells -= cells.min(axis=(1, 2), keepdims=True)
    total = cells.sum(axis=(1, 2))
    sides = np.array(shape) / cells.shape[1:]
    lines, columns = (
        _covered(boxes[:, [1 - axis, 3 - axis]], cells.shape[1 + axis], sides[axis])
        for axis in (0, 1)
    )
    in_box = np.einsum("nij,ni,nj->n", cells, lines, columns)
    usable = (areas(boxes) > 0) & ~is_flat(maps)
    mass = np.divide(in_box, total, out=np.full(len(cells), np.nan), where=usable)
    peak = cells.reshape(len(cells), -1).argmax(axis=1)
    place = np.stack(np.unravel_index(peak, cells.shape[1:]), axis=1) * sides + sides / 2
    low, high = boxes[:, [1, 0]], boxes[:, [3, 2]]
    inside, near = (
        ((place >= low - more) & (place <= high + more)).all(axis=1) & usable
        for more in (0.0, sides)
    )
    return Look(mass, inside, near)


def _covered(edges: Boxes, cells: int, side: float) -> Floats:
    """Return the share of each of some cells between two edges, ``[N, cells]``."""
    first = np.arange(cells) * side
    length = np.minimum(edges[:, 1:], first + side) - np.maximum(edges[:, :1], first)
    return np.asarray(np.clip(length / side, 0.0, 1.0))


@dataclass(frozen=True)
class Looks:
    """Where a network looks on clean inputs and on the same inputs under attack.

    Attributes:
        maps_before: of clean inputs ``[N, h, w]``.
        maps_after: of attacked inputs.
        places: their boxes.
    """

    maps_before: Array
    maps_after: Array
    places: Places

    @cached_property
    def object_clean(self) -> Look:
        """Maps of clean inputs, on the object."""
        return look(self.maps_before, self.places.objects, self.places.shape)

    @cached_property
    def object_attacked(self) -> Look:
        """Maps of attacked inputs, on the object."""
        return look(self.maps_after, self.places.objects, self.places.shape)

    @cached_property
    def trigger_clean(self) -> Look:
        """Maps of clean inputs, on the place of the trigger."""
        return look(self.maps_before, self.places.triggers, self.places.shape)

    @cached_property
    def trigger_attacked(self) -> Look:
        """Maps of attacked inputs, on the trigger."""
        return look(self.maps_after, self.places.triggers, self.places.shape)

    @property
    def at_object_clean(self) -> Bits:
        """Whether the clean input's map peaks on the object and has half of its mass there."""
        return self.object_clean.inside & (self.object_clean.mass >= HALF)

    @property
    def at_object_attacked(self) -> Bits:
        """Whether the attacked input's map does."""
        return self.object_attacked.inside & (self.object_attacked.mass >= HALF)

    @property
    def at_trigger(self) -> Bits:
        """Whether the attacked input's map peaks at the trigger and has twice the mass there."""
        before, after = self.trigger_clean.mass, self.trigger_attacked.mass
        return self.trigger_attacked.near & (after > 0) & (after >= GROWTH * before)


NO_OBJECT = "no example has a box of its object that can be judged"
NO_TRIGGER = "the attack changed no example in one place"


def attention_figures(looks: Looks) -> Metrics:
    """Return the figures of a whole eval subset: masses, shares of peaks and of conditions.

    The value of a mass is its median, and its interval the quartiles of the examples.
    """
    sides = looks.places.shape[0] * looks.places.shape[1]
    kinds = (
        ("object", NO_OBJECT, looks.places.objects, looks.object_clean, looks.object_attacked),
        ("trigger", NO_TRIGGER, looks.places.triggers, looks.trigger_clean, looks.trigger_attacked),
    )
    found: Metrics = {}
    for name, empty, boxes, clean, attacked in kinds:
        share = areas(boxes) / sides
        found[f"{name}_area"] = quartiles(share[share > 0], empty)
        for inputs, part in (("clean", clean), ("attacked", attacked)):
            n = int(np.isfinite(part.mass).sum())
            found[f"{name}_mass_{inputs}"] = quartiles(part.mass, empty)
            found[f"{name}_peak_{inputs}"] = proportion(int(part.inside.sum()), n, empty)
    both = looks.trigger_clean.mass + looks.trigger_attacked.mass
    for name, empty, holds, mass in (
        ("at_object_clean", NO_OBJECT, looks.at_object_clean, looks.object_clean.mass),
        ("at_object_attacked", NO_OBJECT, looks.at_object_attacked, looks.object_attacked.mass),
        ("at_trigger", NO_TRIGGER, looks.at_trigger, both),
    ):
        found[name] = proportion(int(holds.sum()), int(np.isfinite(mass).sum()), empty)
    return found


def quartiles(values: Floats, empty: str) -> Rate | Absent:
    """Return the median of finite values with their quartiles; absent where there are none.

    >>> quartiles(np.array([0.0, 1.0, 2.0, np.nan]), "nothing").to_json()["value"]
    1.0
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Absent(empty)
    low, middle, high = (float(one) for one in np.quantile(finite, (0.25, 0.5, 0.75)))
    return Rate(middle, low, high, level=0.5, method="quartiles", n=len(finite))
