"""Counts per image from class maps: the input of all segmentation metrics.

Pixels whose *label* is void are dropped. A *prediction* without a class (void, ``NOT_FINITE``, or
another number beyond the classes) counts as a miss of the true class and a hit of none: attacks
could hide damage in dropped pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.integer]

NOT_FINITE = 255
"""Predicted class of a pixel with an output that is not finite; there are at most 254 classes."""

_CHUNK = 2_000_000  # pixels held as int64 at once


def confusion(maps: Maps, y: Maps, classes: int, void: int | None = None) -> NDArray[np.uint32]:
    """Compute the confusion matrix of each image; the last column is for predictions without class.

    Args:
        maps: predicted classes ``[N, H, W]``.
        y: labels ``[N, H, W]``, 0..classes−1 or ``void``.
        classes: K.
        void: the label that is dropped, or ``None`` where every pixel has a class.

    Returns:
        uint32 ``[N, K, K + 1]``: true class, predicted class.

    >>> confusion(np.array([[[0, 9, 1]]]), np.array([[[0, 0, 255]]]), classes=2, void=255).tolist()
    [[[1, 0, 1], [0, 0, 0]]]
    """
    if maps.shape != y.shape or maps.ndim != 3:
        raise ValueError(f"class maps {maps.shape} and labels {y.shape} must both be [N, H, W]")
    cells = classes * (classes + 1)
    counts = np.zeros((len(y), cells), np.uint32)
    step = max(1, _CHUNK // max(1, y[0].size if len(y) else 1))
    for start in range(0, len(y), step):
        truth = y[start : start + step].reshape(-1, y[0].size).astype(np.int64)
        seen = _class_or_none(maps[start : start + step].reshape(truth.shape), classes)
        kept = truth != void if void is not None else np.ones(truth.shape, bool)
        if np.any(kept & ((truth < 0) | (truth >= classes))):
            raise ValueError(f"a label is neither void ({void}) nor one of {classes} classes")
        code = truth * (classes + 1) + seen + cells * np.arange(len(truth))[:, None]
        binned = np.bincount(code[kept], minlength=cells * len(truth))
        counts[start : start + step] = binned.reshape(len(truth), cells)
    return counts.reshape(len(y), classes, classes + 1)


def moves(
    before: Maps, after: Maps, y: Maps, classes: int, void: int | None = None
) -> NDArray[np.int64]:
    """Count labelled pixels by the classes predicted before and under attack, over all images.

    Args:
        before: predicted classes ``[N, H, W]`` before the attack.
        after: under attack.
        y: labels ``[N, H, W]``; pixels without a label are not counted.
        classes: K.
        void: the label that is dropped, or ``None``.

    Returns:
        int64 ``[K + 1, K + 1]``: from, to; the last row and column are for no class.

    >>> first, last = np.array([[[0, 1, 1]]]), np.array([[[0, 9, 0]]])
    >>> moves(first, last, np.array([[[0, 0, 255]]]), classes=2, void=255).tolist()
    [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    """
    counts = np.zeros((classes + 1) ** 2, np.int64)
    for first, last, truth in zip(before, after, y, strict=True):
        kept = truth != void if void is not None else np.ones(truth.shape, bool)
        code = _class_or_none(first[kept], classes) * (classes + 1) + _class_or_none(
            last[kept], classes
        )
        counts += np.bincount(code, minlength=len(counts))
    return counts.reshape(classes + 1, classes + 1)


def count_not_finite(maps: Maps, y: Maps, void: int | None = None) -> int:
    """Count labelled pixels whose prediction is ``NOT_FINITE``.

    >>> count_not_finite(np.array([[[255, 255, 1]]]), np.array([[[0, 9, 1]]]), void=9)
    1
    """
    kept = y != void if void is not None else np.ones(y.shape, bool)
    return int((kept & (maps == NOT_FINITE)).sum())


def _class_or_none(seen: Maps, classes: int) -> NDArray[np.int64]:
    """Return predicted classes as int64, with ``classes`` for predictions without class."""
    wide = seen.astype(np.int64)
    return np.where((wide < 0) | (wide >= classes), classes, wide)


@dataclass(frozen=True)
class Flips:
    """Numbers of pixels in each image, int64 ``[N]`` each; pixels labelled void are left out.

    Attributes:
        kept: labelled pixels.
        changed: pixels whose prediction changes.
        right: pixels right before the attack.
        broken: pixels right before and wrong after.
    """

    kept: NDArray[np.int64]
    changed: NDArray[np.int64]
    right: NDArray[np.int64]
    broken: NDArray[np.int64]


@dataclass(frozen=True)
class Aimed:
    """Numbers of pixels in each image that have a target, int64 ``[N]`` each.

    Attributes:
        asked: labelled pixels right before the attack whose label is not the target.
        reached: those of them that are the target under attack.
        wrong: those of them that are wrong under attack.
    """

    asked: NDArray[np.int64]
    reached: NDArray[np.int64]
    wrong: NDArray[np.int64]


def aimed(before: Maps, after: Maps, y: Maps, goal: Maps, void: int | None = None) -> Aimed:
    """Count the pixels that an attack turns into their target.

    Args:
        before: predicted classes ``[N, H, W]`` before the attack.
        after: under attack.
        y: labels ``[N, H, W]``.
        goal: target classes ``[N, H, W]``.
        void: the label that is dropped, or ``None``.

    >>> first, last, y = np.array([[[0, 0, 1]]]), np.array([[[1, 0, 1]]]), np.array([[[0, 0, 1]]])
    >>> found = aimed(first, last, y, np.array([[[1, 1, 1]]]))
    >>> found.reached.tolist(), found.asked.tolist()
    ([1], [2])
    """
    rows = np.zeros((3, len(y)), np.int64)
    for i, (first, last, truth, wanted) in enumerate(zip(before, after, y, goal, strict=True)):
        asked = (first == truth) & (truth != wanted)
        if void is not None:
            asked &= truth != void
        rows[:, i] = [part.sum() for part in (asked, asked & (last == wanted),
                                              asked & (last != truth))]  # fmt: skip
    return Aimed(*rows)


def flips(before: Maps, after: Maps, y: Maps, void: int | None = None) -> Flips:
    """Count the pixels whose prediction changes, so that the class maps need not be stored.

    Args:
        before: predicted classes ``[N, H, W]`` before the attack.
        after: under attack.
        y: labels ``[N, H, W]``.
        void: the label that is dropped, or ``None``.
    """
    rows = np.zeros((4, len(y)), np.int64)
    for i, (first, last, truth) in enumerate(zip(before, after, y, strict=True)):
        kept = truth != void if void is not None else np.ones(truth.shape, bool)
        right = kept & (first == truth)
        rows[:, i] = [kept.sum(), (kept & (first != last)).sum(), right.sum(),
                      (right & (last != truth)).sum()]  # fmt: skip
    return Flips(*rows)
