"""Judge of segmentation: figures from the confusion matrices of images.

IoU is pooled over the eval subset, never averaged over batches: ``C_cc / (labels of c + predictions
of c − C_cc)``. A class in neither labels nor predictions has no IoU and is left out of the mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.judge.maps import Aimed, Flips
from harness.judge.statistics import DRAWS, bootstrap, paired_permutation, percentile_interval
from harness.judge.values import NO_AFTER, Absent, Judged, Metrics, Rate, with_interval

Counts = NDArray[np.integer]
Floats = NDArray[np.float64]

_UNIT = 2.0**32  # per-image IoU in whole numbers, so that resampled sums are exact
_FLOOR = 0.01  # clean mIoU below which a relative drop is meaningless
_FIGURES = ("miou", "pixel_accuracy", "class_accuracy", "image_mean_iou")


def segmentation(
    before: Counts,
    after: Counts | None,
    *,
    pixels: Flips | None = None,
    targets: Aimed | Absent | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Judged:
    """Judge a segmentation network over the eval subset.

    Intervals come from one bootstrap over images, paired between before and after.

    Args:
        before: ``[N, K, K + 1]`` before the attack (see ``maps.confusion``).
        after: the same under attack, or ``None`` where no such prediction exists.
        pixels: adds ``flip_rate`` and ``attack_success_rate`` (pixels right before, made wrong).
        targets: adds ``targeted_success_rate`` (pixels right before, made their target); absent
            where a target is planned but not known.
        draws: number of resamples.
        seed: of the resampling.

    Returns:
        Figures, and ``parts`` with ``clean_iou[class k]`` and ``iou[class k]``.
    """
    first = _stats(before)
    last = first if after is None else _stats(after)
    counted = _pixel_columns(pixels, len(first)), _target_columns(targets, len(first))
    stacked = np.hstack([first, last, *counted])
    # Row 0 is the observed sample, the others are resamples: one computation serves both.
    pooled = np.vstack([stacked.sum(axis=0), bootstrap(stacked, draws, seed)])
    clean, attacked, changed = np.split(pooled, [first.shape[1], 2 * first.shape[1]], axis=1)
    figures = {f"clean_{name}": row for name, row in _figures(clean).items()}
    parts = _parts("clean_iou", clean, len(first))
    notes = _excluded_classes("clean mIoU", clean[0])
    if after is not None:
        figures |= _figures(attacked)
        parts |= _parts("iou", attacked, len(first))
        notes += _excluded_classes("mIoU under attack", attacked[0])
        figures["miou_drop"] = figures["clean_miou"] - figures["miou"]
        figures["miou_drop_relative"] = _ratio(
            figures["miou_drop"], np.where(figures["clean_miou"] < _FLOOR, 0, figures["clean_miou"])
        )
    if pixels is not None:
        figures["flip_rate"] = _ratio(changed[:, 1], changed[:, 0])
        figures["attack_success_rate"] = _ratio(changed[:, 3], changed[:, 2])
    if isinstance(targets, Aimed):
        figures["targeted_success_rate"] = _ratio(changed[:, 5], changed[:, 4])
    metrics = {name: _rate(name, row, len(first)) for name, row in figures.items()}
    if isinstance(targets, Absent):
        metrics["targeted_success_rate"] = targets
    if after is None:
        metrics |= {
            name: Absent(NO_AFTER) for name in (*_FIGURES, "miou_drop", "miou_drop_relative")
        }
    return Judged(metrics=metrics, parts=parts, notes=notes)


def image_iou(confusions: Counts) -> Floats:
    """Compute the mean IoU of each image over its labelled classes; NaN without a labelled pixel.

    Args:
        confusions: ``[N, K, K + 1]`` (see ``maps.confusion``).

    >>> image_iou(np.array([[[3, 1, 0], [0, 0, 0]]])).tolist()
    [0.75]
    """
    hits, labels, named = _counts(confusions)
    return _mean(np.where(labels > 0, _ratio(hits, labels + named - hits), np.nan))


class Difference(NamedTuple):
    """A paired difference of two networks.

    Attributes:
        value: the difference.
        lo: lower end of its 95 % interval.
        hi: upper end.
        p: p-value of no difference.
    """

    value: float
    lo: float
    hi: float
    p: float


def miou_difference(a: Counts, b: Counts, draws: int = DRAWS, seed: int = 0) -> Difference:
    """Test whether two networks differ in pooled mIoU over the same images.

    Args:
        a: ``[N, K, K + 1]`` of the first network.
        b: of the second, same images.
        draws: number of resamples and of exchanges.
        seed: of both.

    Returns:
        ``mIoU(a) − mIoU(b)`` with a paired bootstrap interval and a paired permutation p.
    """
    first, second = _stats(a), _stats(b)
    width = first.shape[1]
    stacked = np.hstack([first, second])
    pooled = np.vstack([stacked.sum(axis=0), bootstrap(stacked, draws, seed)])
    samples = _miou(pooled[:, :width]) - _miou(pooled[:, width:])
    interval = percentile_interval(samples[1:])
    if interval is None:
        raise ValueError("no class has a pixel in labels or predictions")
    return Difference(
        float(samples[0]), *interval, p=paired_permutation(first, second, _miou, draws, seed)
    )


class WorstCase(NamedTuple):
    """Result of the greedy worst case.

    Attributes:
        miou: the lowest pooled mIoU found.
        choice: attack of each image, int64 ``[N]``.
    """

    miou: float
    choice: NDArray[np.int64]


def worst_case_miou(confusions: Counts, seed: int = 0) -> WorstCase:
    """Choose one attack for each image greedily (SEA, Croce et al., ECCV 2024).

    Start with the single attack of lowest mIoU; sweep the images in random order and switch an
    image's attack whenever the pooled mIoU falls; repeat until a sweep changes nothing. Never above
    the best single attack, not always the lowest that any choice could reach.

    Args:
        confusions: ``[A, N, K, K + 1]``, the same images under each attack.
        seed: of the sweeps' orders.

    Returns:
        The mIoU and the choice; judge the chosen matrices to get its interval:
        ``segmentation(before, confusions[choice, np.arange(N)])``.
    """
    stats = np.stack([_stats(attack) for attack in confusions])
    single = _miou(stats.sum(axis=1))
    if np.isnan(single).all():
        raise ValueError("no class has a pixel in labels or predictions")
    choice = np.full(stats.shape[1], np.nanargmin(single))
    lowest = float(np.nanmin(single))
    pooled = stats[choice, np.arange(stats.shape[1])].sum(axis=0)
    generator = np.random.default_rng(seed)
    changed = True
    while changed:
        changed = False
        for image in generator.permutation(stats.shape[1]):
            candidates = pooled - stats[choice[image], image] + stats[:, image]
            values = _miou(candidates)
            best = int(np.nanargmin(values))
            # Sums are exact, so equal counts give equal values, and the loop terminates.
            if values[best] < lowest:
                choice[image], pooled, lowest = best, candidates[best], float(values[best])
                changed = True
    return WorstCase(lowest, choice)


def _stats(confusions: Counts) -> Floats:
    """Return whole numbers ``[N, 3K + 2]``: hits, labels, predictions, IoU, defined or not."""
    image = image_iou(confusions)
    defined = ~np.isnan(image)
    whole = np.where(defined, np.round(image * _UNIT), 0.0)
    return np.hstack([*_counts(confusions), np.column_stack([whole, defined])])


def _counts(confusions: Counts) -> tuple[Floats, Floats, Floats]:
    """Return hits, labels and predictions of each image and class, ``[N, K]`` each."""
    hits = np.diagonal(confusions, axis1=1, axis2=2).astype(np.float64)
    labels = confusions.sum(axis=2, dtype=np.float64)
    named = confusions[:, :, :-1].sum(axis=1, dtype=np.float64)
    return hits, labels, named


def _split(pooled: Floats) -> tuple[Floats, Floats, Floats]:
    hits, labels, named = np.split(pooled[:, :-2], 3, axis=1)
    return hits, labels, named


def _iou(pooled: Floats) -> Floats:
    hits, labels, named = _split(pooled)
    return _ratio(hits, labels + named - hits)


def _miou(pooled: Floats) -> Floats:
    return _mean(_iou(pooled))


def _figures(pooled: Floats) -> dict[str, Floats]:
    """Compute figures ``[D]`` from pooled counts ``[D, 3K + 2]``; NaN where undefined."""
    hits, labels, _ = _split(pooled)
    values = (
        _miou(pooled),
        _ratio(hits.sum(axis=1), labels.sum(axis=1)),
        _mean(_ratio(hits, labels)),
        _ratio(pooled[:, -2] / _UNIT, pooled[:, -1]),
    )
    return dict(zip(_FIGURES, values, strict=True))


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """Divide ``top`` by ``bottom``; NaN where ``bottom`` is 0."""
    quotient: Floats = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=quotient, where=bottom > 0)
    return quotient


def _mean(values: Floats) -> Floats:
    """Compute the mean of each row over its defined values; NaN where there are none."""
    defined = ~np.isnan(values)
    return _ratio(
        np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64)
    )


def _rate(name: str, samples: Floats, images: int) -> Rate | Absent:
    """Return the observed value (first sample) with the interval of its resamples (the rest)."""
    if np.isnan(samples[0]):
        return Absent(_UNDEFINED.get(name, "no pixel has a label"))
    # The variation between images cannot be estimated from one image.
    interval = percentile_interval(samples[1:]) if images > 1 else None
    return with_interval(float(samples[0]), interval, "bootstrap")


_UNDEFINED = {
    "miou_drop_relative": "clean mIoU is undefined or below 1 %",
    "attack_success_rate": "no pixel was right before the attack",
    "targeted_success_rate": "no pixel was right before the attack and not of its target class",
}


def _parts(name: str, pooled: Floats, images: int) -> Metrics:
    columns = _iou(pooled).T
    reason = "the class has no pixel in labels or predictions"
    return {
        f"{name}[class {k}]": Absent(reason) if np.isnan(row[0]) else _rate(name, row, images)
        for k, row in enumerate(columns)
    }


def _excluded_classes(figure: str, pooled: Floats) -> tuple[str, ...]:
    empty = np.flatnonzero(np.isnan(_iou(pooled[None])[0])).tolist()
    if not empty:
        return ()
    return (f"{figure} leaves out classes without a pixel in labels or predictions: {empty}",)


def _pixel_columns(pixels: Flips | None, images: int) -> Floats:
    if pixels is None:
        return np.zeros((images, 4))
    rows = (pixels.kept, pixels.changed, pixels.right, pixels.broken)
    return np.column_stack(rows).astype(np.float64)


def _target_columns(targets: Aimed | Absent | None, images: int) -> Floats:
    if not isinstance(targets, Aimed):
        return np.zeros((images, 2))
    return np.column_stack((targets.asked, targets.reached)).astype(np.float64)
