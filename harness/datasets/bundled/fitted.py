"""Bundled sets in another picture form: larger, with other channels and numbers of classes.

A network that takes one form of pictures is tried on these: ``digits-3x224x224-20`` are the digits
at 224x224 in three channels, with 20 outputs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import Array, Dataset, Facts, Ids, Split, Splits
from harness.datasets.hashing import draws, hash_order

Images = NDArray[np.uint8]

BASES = ("digits", "digits-ranking", "digit-scenes")
"""Names of the sets that are given another form, one for each task."""

NAME = re.compile(
    rf"({'|'.join(BASES)})-([1-9]\d?)x([1-9]\d{{,3}})x([1-9]\d{{,3}})-([1-9]\d{{,4}})"
)
"""Names of sets: up to 99 channels, sides of 9,999 pixels, 99,999 classes: a name asks for memory
on the machine that plans, before any limit of a stage counts."""
MOST_BYTES = 32 * 2**20
"""Bytes of a split's pictures. A split of larger pictures has fewer: at 3x224x224, 222."""
PHOTOGRAPHIC = 64
"""Side from which on digits lie on crops of photographs: a large flat picture is like none that a
network for photographs has seen."""
DIMMED = 0.5
"""Brightness of the photographs, as a share: a digit, of full brightness, stands out."""
TIE = 1e-6
"""Distance of a value from a half, far above rounding errors of sums, below that of two values."""


class Form(NamedTuple):
    """Form of pictures and labels.

    Attributes:
        channels: number of channels.
        height: height in pixels.
        width: width in pixels.
        outputs: number of classes; in ranking, of attributes.
    """

    channels: int
    height: int
    width: int
    outputs: int

    @property
    def size(self) -> str:
        """Channels, height and width: ``3x224x224``."""
        return "x".join(map(str, self[:3]))


def own_form(base: Dataset) -> Form:
    """Return the form that a bundled set has as it is."""
    assert base.facts is not None
    channels, height, width = base.facts.shape
    return Form(channels, height, width, base.facts.outputs)


def fitted_name(base: Dataset, form: Form) -> str:
    """Return the name of a bundled set in another form; the set's own where it has that form."""
    return base.name if form == own_form(base) else f"{base.name}-{form.size}-{form.outputs}"


def parse_name(name: str) -> tuple[str, Form] | None:
    """Return the bundled set and the form that a name says, or ``None`` for another name.

    >>> parse_name("digits-3x28x28-10"), parse_name("digits")
    (('digits', Form(channels=3, height=28, width=28, outputs=10)), None)
    """
    match = NAME.fullmatch(name)
    return None if match is None else (match[1], Form(*map(int, match.groups()[1:])))


@cache
def make(base: Dataset, form: Form) -> Dataset:
    """Return a bundled set in another form, as a row of the table of data sets."""
    splits = _chosen(base, form)
    train, val, test = (len(part.y) for part in (splits.train, splits.val, splits.test))
    return replace(
        base,
        name=fitted_name(base, form),
        card=replace(base.card, size=f"{form.size}, made of {base.name}"),
        facts=Facts(train, val, test, form.outputs, form[:3]),
        bundled=partial(load, base, form),
    )


def load(base: Dataset, form: Form) -> Splits:
    """Make a bundled set in another form; ids are the bundled set's.

    Args:
        base: the bundled set.
        form: form of pictures and labels. Of fewer classes than the set has, the first stay; more
            are classes without an example.
    """
    chosen = _chosen(base, form)
    photographs = base.task == "classification" and min(form[1:3]) >= PHOTOGRAPHIC

    def part(split: Split) -> Split:
        x, y = resize(split.x, form), split.y
        if photographs:
            x = np.maximum(x, photograph_crops(split.ids, form))
        if base.task == "segmentation":
            rows, columns = (rows_of(*one) for one in zip(y.shape[1:], form[1:3], strict=True))
            y = y[:, rows][:, :, columns]
        return Split(x=x, y=y, ids=split.ids)

    classes = chosen.spec["classes"]
    assert isinstance(classes, list)
    names = list(classes)
    names += [f"without examples {n}" for n in range(len(names), form.outputs)]
    spec = chosen.spec | {
        "outputs": form.outputs,
        "shape": list(form[:3]),
        "classes": names[: form.outputs],
    }
    return Splits(spec, *map(part, (chosen.train, chosen.val, chosen.test)))


def _chosen(base: Dataset, form: Form) -> Splits:
    """Return the examples of a bundled set that a form leaves, as they are."""
    most = max(1, MOST_BYTES // (form.channels * form.height * form.width))
    assert base.bundled is not None
    splits = base.bundled()
    cut = partial(CUTS[base.task], outputs=form.outputs, most=most, void=splits.spec["void"])
    return Splits(splits.spec, *(cut(one) for one in (splits.train, splits.val, splits.test)))


def cut_classes(split: Split, outputs: int, most: int, void: int) -> Split:
    """Return the examples of the first classes, at most ``most`` by hash."""
    known = np.flatnonzero(np.asarray(split.y, dtype=np.int64) < outputs)
    rows = np.sort(known[hash_order(split.ids[known], "fitted")[:most]])
    return Split(split.x[rows], split.y[rows], split.ids[rows])


def cut_maps(split: Split, outputs: int, most: int, void: int) -> Split:
    """Return at most ``most`` scenes; pixels of other classes are void."""
    y = np.array(split.y)
    np.putmask(y, np.asarray(y, dtype=np.int64) >= outputs, void)
    return Split(split.x[:most], y[:most], split.ids[:most])


def cut_pairs(split: Split, outputs: int, most: int, void: int) -> Split:
    """Return the comparisons of the first ``most`` items."""
    rows = np.flatnonzero((np.asarray(split.y[:, :2], dtype=np.int64) < most).all(axis=1))
    return Split(split.x[:most], split.y[rows], split.ids[rows])


CUTS: dict[str, Callable[..., Split]] = {
    "classification": cut_classes,
    "segmentation": cut_maps,
    "ranking": cut_pairs,
}
"""Task → function that leaves the examples of a split that a form has room for."""


def resize(x: Array, form: Form) -> Images:
    """Return pictures in another form: bilinear sides, channels repeated or their mean.

    Args:
        x: uint8 ``[N, C, H, W]``.
        form: the form.
    """
    if form.channels == 1:
        x = np.rint(x.mean(axis=1, keepdims=True))
    if x.shape[2:] != form[1:3]:
        down, across = weights(x.shape[2], form.height), weights(x.shape[3], form.width)
        sized = (down @ one.astype(np.float64) @ across.T for one in x)
        # halves are rounded up whatever the order of a machine's sums
        x = np.stack([np.floor(one + 0.5 + TIE).astype(np.uint8) for one in sized])
    channels = np.arange(form.channels) % x.shape[1]
    return np.ascontiguousarray(x[:, channels], dtype=np.uint8)


def weights(old: int, new: int) -> NDArray[np.float64]:
    """Return the weights ``[new, old]`` of linear interpolation between centers of pixels.

    >>> weights(2, 4).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    found: NDArray[np.float64] = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(old)))
    return found


def rows_of(old: int, new: int) -> NDArray[np.intp]:
    """Return the nearest old row of each new row.

    >>> rows_of(2, 4).tolist()
    [0, 0, 1, 1]
    """
    return ((np.arange(new) + 0.5) * old / new).astype(np.intp)


def photograph_crops(ids: Ids, form: Form) -> Images:
    """Return a dimmed crop of one of two photographs for each example, by its id."""
    from sklearn.datasets import load_sample_images

    pictures = [image.transpose(2, 0, 1)[np.newaxis] for image in load_sample_images().images]
    out = np.empty((len(ids), *form[:3]), dtype=np.uint8)
    for row, number in enumerate(ids.tolist()):
        picture = pictures[number % len(pictures)]
        height, width = (min(a, b) for a, b in zip(form[1:3], picture.shape[2:], strict=True))
        where = draws(f"fitted/{number}", 2)
        top = int(where[0] * (picture.shape[2] - height + 1))
        left = int(where[1] * (picture.shape[3] - width + 1))
        crop = picture[:, :, top : top + height, left : left + width]
        out[row] = resize(crop, form)[0] * DIMMED
    return out
