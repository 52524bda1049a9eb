"""Mean IoU of a segmentation network on validation images, for model selection; never a score."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Data
from harness.runtime.tasks import predicted_classes


def pooled_miou(network: nn.Module, data: Data, batch: int) -> float:
    """Return the mean IoU pooled over all images of a set, in [0, 1], as the judge computes it.

    Pixels labelled void do not count; a prediction of void is an error, and so is a logit that is
    not finite. A class that occurs neither in labels nor in predictions has no IoU. If no class has
    one, the mean is NaN.

    Args:
        network: returns logits ``[B, K, H, W]``, or ``K + 1`` channels, the last one for void. It
            runs in the mode that it is in.
        data: images with labels in 0..K−1 or void.
        batch: images per forward pass.
    """
    classes = data.spec.outputs
    pooled = torch.zeros(classes * (classes + 1), dtype=torch.int64)
    for x, y in data.batches(batch):
        with torch.no_grad():
            predicted = predicted_classes(network(x))
        pooled += confusion(predicted, y, classes, data.spec.void).cpu()
    return mean_iou(pooled.view(classes, classes + 1))


def confusion(predicted: Tensor, y: Tensor, classes: int, void: int | None = None) -> Tensor:
    """Count labelled pixels by true and predicted class, flat int64 ``[K·(K + 1)]``.

    Args:
        predicted: predicted classes, int64 ``[B, H, W]``; K or more stands for void.
        y: labels, uint8 ``[B, H, W]``.
        classes: K. The last column of the matrix holds predictions of void.
        void: label of the pixels that do not count, or ``None`` where all do.

    >>> y = torch.tensor([[[0, 0, 255]]], dtype=torch.uint8)
    >>> confusion(torch.tensor([[[1, 2, 0]]]), y, classes=2, void=255).tolist()
    [0, 1, 1, 0, 0, 0]
    """
    labelled = torch.ones_like(y, dtype=torch.bool) if void is None else y != void
    codes = y[labelled].long() * (classes + 1) + predicted[labelled].clamp_max(classes)
    return torch.bincount(codes, minlength=classes * (classes + 1))


def mean_iou(confusion: Tensor) -> float:
    """Return the mean IoU of a confusion matrix ``[K, K + 1]``; NaN if it is empty.

    >>> mean_iou(torch.tensor([[3, 1, 0], [0, 2, 2]]))
    0.575
    """
    hits = confusion.diagonal().double()
    union = confusion.sum(1) + confusion[:, : len(confusion)].sum(0) - hits
    occurs = union > 0
    return float((hits[occurs] / union[occurs]).mean()) if bool(occurs.any()) else math.nan
