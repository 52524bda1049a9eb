"""Codebooks: a fixed target for each class, as arrays ``[K, …]``."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HIGH = 80.0
"""Largest value of the drawn labels, as published."""

MOST = 100
"""Most classes of the codebooks that were drawn once for 100 classes."""


draws = np.random.RandomState
"""Numpy's legacy generator, with which the published codebooks were drawn."""


def uniform(classes: int) -> Array:
    """Return constant labels: 80 · k / (K - 1) in every cell (published as ``uniform``)."""
    return np.linspace(0, HIGH, classes)[:, None, None] * np.ones((64, 64))


def random(classes: int) -> Array:
    """Return uniform noise (published as ``random``): the first rows of a draw for 100 classes."""
    return draws(48).rand(MOST, 64, 64)[:classes] * HIGH


def lowdim(classes: int) -> Array:
    """Return uniform noise of as many numbers as there are classes."""
    return draws(48).rand(classes, classes) * HIGH


def composite(classes: int) -> Array:
    """Return sums of ten Gaussians at random places and angles, scaled to [0, 80]."""
    count = range(10)
    across, down, turn = ([stream(i + first, 2 * classes) for i in count] for first in (1, 2, 3))
    centres = (np.arange(256) + 0.5) / 256 - 0.5
    x, y = np.meshgrid(centres, -centres)
    narrow = 0.15 / 2
    wide = narrow / 0.31
    found = []
    for k in range(classes):
        image = np.zeros((256, 256))
        for i in count:
            # the pattern library of the authors draws each place twice for a label
            dx, dy = x - (across[i][2 * k] - 0.5), y - (down[i][2 * k + 1] - 0.5)
            angle = math.pi * turn[i][k]
            a = math.cos(angle) * dx + math.sin(angle) * dy
            b = math.cos(angle) * dy - math.sin(angle) * dx
            image += np.exp(-a * a / (2 * wide * wide) - b * b / (2 * narrow * narrow))
        scaled = (image - image.min()) / (image.max() - image.min()) * 255
        found.append(scaled.astype(np.float32)[2::4, 2::4] / 255 * 80)
    return np.stack(found).astype(np.float64)


def stream(seed: int, count: int) -> list[float]:
    """Return the first numbers in [0, 1) of Python's generator."""
    generator = Random(seed)  # noqa: S311
    return [generator.random() for _ in range(count)]


def shuffle(speech: Array) -> Array:
    """Return labels with their columns in another order, one order a class, never as they were."""
    generator, found = draws(8), []
    for label in speech:
        same = np.arange(label.shape[1])
        order = same.copy()
        while (order == same).all():
            order = same.copy()
            generator.shuffle(order)
        found.append(label[:, order])
    return np.stack(found)


def normal(classes: int, size: int) -> Array:
    """Return vectors around k: N(k, 0.1²) in each coordinate, points on one line but for noise."""
    return np.arange(classes)[:, None] + 0.1 * draws(48).randn(classes, size)


def gap(classes: int, distance: float) -> Array:
    """Return 50 numbers of U[k · gap, k · gap + 9): the larger the gap, the less values overlap."""
    return np.arange(classes)[:, None] * distance + 9 * draws(48).rand(classes, 50)


def offset(classes: int, distance: float) -> Array:
    """Return 50 numbers as ``gap`` does, with the classes in another order in each coordinate.

    So values overlap as little, and the classes are not points on a line.
    """
    generator = draws(48)
    noise = 9 * generator.rand(classes, 50)
    orders = np.stack([generator.permutation(classes) for _ in range(50)], axis=1)
    return orders * distance + noise


def levels(classes: int, bits: int) -> Array:
    """Return noise of 2^bits values, each equally often in every label: ``bits`` of entropy.

    Labels of independent cells are nearly equally far from each other whatever their entropy is.
    """
    count, generator = 2**bits, draws(48)
    values = np.arange(4096) % count * (HIGH / (count - 1))
    return np.stack([generator.permutation(values).reshape(64, 64) for _ in range(classes)])


def simplex(classes: int, size: int) -> Array:
    """Return vectors at exactly one distance: orthogonal directions of ``size`` dimensions.

    Raises:
        ValueError: there are fewer dimensions than classes.
    """
    if size < classes:
        raise ValueError(f"dim {size}: {classes} orthogonal labels need as many dimensions")
    axes, _ = np.linalg.qr(draws(48).randn(size, classes))
    return HIGH / 2 * math.sqrt(size / 2) * axes.T


def onehot(classes: int) -> Array:
    """Return one-hot vectors."""
    return np.eye(classes)


def onehot80(classes: int) -> Array:
    """Return one-hot vectors of height 80."""
    return HIGH * np.eye(classes)


DRAWN: dict[str, Callable[[int, int, float, int], Array]] = {
    "uniform": lambda classes, dim, distance, bits: uniform(classes),
    "random": lambda classes, dim, distance, bits: random(classes),
    "lowdim": lambda classes, dim, distance, bits: lowdim(classes),
    "composite": lambda classes, dim, distance, bits: composite(classes),
    "onehot": lambda classes, dim, distance, bits: onehot(classes),
    "onehot80": lambda classes, dim, distance, bits: onehot80(classes),
    "normal": lambda classes, dim, distance, bits: normal(classes, dim),
    "simplex": lambda classes, dim, distance, bits: simplex(classes, dim),
    "gap": lambda classes, dim, distance, bits: gap(classes, distance),
    "offset": lambda classes, dim, distance, bits: offset(classes, distance),
    "levels": lambda classes, dim, distance, bits: levels(classes, bits),
}
"""Label → its codebook, from classes, dimensions, offset from class to class, and entropy."""

FROM_FILES = ("speech", "shuffle", "bert", "glove")
"""Labels that cannot be drawn: they need recordings, word vectors or a stored array."""


def stored_name(label: str, dim: int, gap: float) -> str:
    """Return the name of a codebook in the published files.

    >>> stored_name("normal", 5, 0), stored_name("gap", 1, 0.1), stored_name("random", 1, 0)
    ('normal_dim=5', 'uniform_gap=0.1', 'random')
    """
    return {"normal": f"normal_dim={dim}", "gap": f"uniform_gap={gap:g}"}.get(label, label)


def draw(label: str, classes: int, *, dim: int, gap: float, bits: int) -> Array:
    """Return a codebook that needs no file, ``[K, …]``.

    Args:
        label: name of the codebook.
        classes: number of classes K.
        dim: dimensions of ``normal`` and ``simplex``.
        gap: offset from class to class of ``gap`` and ``offset``.
        bits: entropy of ``levels`` in bits.

    Raises:
        ValueError: there is no such codebook for so many classes.
    """
    if label in ("random", "composite") and classes > MOST:
        raise ValueError(f"{label} has labels for {MOST} classes, the data set has {classes}")
    return DRAWN[label](classes, dim, gap, bits)


def rescaled(codebook: Array, distance: float) -> Array:
    """Return a codebook whose classes are ``distance`` apart in the mean (RMS over cells).

    All values are scaled about one number, so that their entropy stays.
    """
    middle = codebook.mean()
    return middle + (codebook - middle) * (distance / distances(codebook).mean())


def distances(codebook: Array) -> Array:
    """Return the RMS distance over cells of each pair of labels."""
    flat = codebook.reshape(len(codebook), -1)
    first, second = np.triu_indices(len(flat), 1)
    found: Array = np.sqrt(np.mean((flat[first] - flat[second]) ** 2, axis=1))
    return found
