"""Class weights of a loss, from the label maps of a training set."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Counts:
    """Pixel counts of a set of label maps.

    Attributes:
        pixels: pixels of each class in each image, float64 ``[N, K]``.
        size: pixels of an image, void included.
    """

    pixels: Tensor
    size: int


def enet(counts: Counts) -> Tensor:
    """Return 1 / ln(1.02 + p), p the class's share of all pixels and void (Paszke et al. 2016).

    A class without a pixel has the largest weight, 50.5.
    """
    shares = counts.pixels.sum(0) / (counts.size * len(counts.pixels))
    return 1 / torch.log(1.02 + shares)


def median_frequency(counts: Counts) -> Tensor:
    """Return median(f) / f, f the class's share of the images that hold it (Eigen and Fergus 2015).

    The median is over the classes that occur, without void: 11 on CamVid. davidtvs's ENet counts
    void among them, 12, which divides all weights by the same number (1.089 on CamVid) and leaves
    a weighted mean unchanged. A class without a pixel has weight 0.
    """
    area = (counts.pixels > 0).sum(0) * counts.size
    occurs = area > 0
    shares = counts.pixels.sum(0) / area.clamp_min(1)
    median = torch.quantile(shares[occurs], 0.5) if bool(occurs.any()) else shares.new_zeros(())
    return _divide(median, shares)


def inverse(counts: Counts) -> Tensor:
    """Return 1 / N, N the class's pixels; a class without a pixel has weight 0."""
    return _divide(torch.ones((), dtype=torch.float64), counts.pixels.sum(0))


def none(counts: Counts) -> Tensor:
    """Return 1 for each class."""
    return torch.ones(counts.pixels.shape[1], dtype=torch.float64)


KINDS: dict[str, Callable[[Counts], Tensor]] = {
    "none": none,
    "enet": enet,
    "mfb": median_frequency,
    "inverse": inverse,
}
"""THE table of class weights, by the names that parameters of modules use."""


def class_weights(kind: str, labels: Tensor, classes: int, void: int | None = None) -> Tensor:
    """Return class weights, float32 ``[K]`` on the CPU.

    Args:
        kind: a row of ``KINDS``.
        labels: label maps, uint8 ``[N, H, W]``, at least one.
        classes: K, at most 255.
        void: the label that counts as no class, or ``None``.

    Raises:
        ValueError: no image, or a label that is neither a class nor void.

    >>> maps = torch.tensor([[[0, 0, 0, 1]], [[0, 0, 0, 255]]], dtype=torch.uint8)
    >>> class_weights("mfb", maps, 2, void=255).tolist()
    [0.6666666865348816, 2.0]
    """
    return KINDS[kind](count(labels, classes, void)).float()


def count(labels: Tensor, classes: int, void: int | None = None) -> Counts:
    """Count the pixels of each class in each image; arguments as ``class_weights``."""
    if len(labels) == 0:
        raise ValueError("no label map: class weights need at least one")
    # one image at a time: bincount makes int64 of what it counts
    found = torch.stack([torch.bincount(one.flatten(), minlength=256).cpu() for one in labels])
    unknown = found.sum(0)
    unknown[:classes] = 0
    if void is not None:
        unknown[void] = 0
    if bool(unknown.any()):
        label = int(unknown.nonzero()[0])
        raise ValueError(f"label {label} is neither one of {classes} classes nor void ({void})")
    return Counts(found[:, :classes].double(), math.prod(labels.shape[1:]))


def _divide(top: Tensor, bottom: Tensor) -> Tensor:
    """Return ``top / bottom``, 0 where ``bottom`` is 0."""
    return torch.where(bottom > 0, top / bottom.clamp_min(torch.finfo(bottom.dtype).tiny), 0.0)
