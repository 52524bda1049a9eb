"""Weights of pixels in the loss of an attack on segmentation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.runtime import dense

Weighting = Callable[[Tensor, Tensor, float, bool], Tensor]
"""``weighting(logits, labels, progress, targeted) -> [B, H, W]``; progress goes from 0 to 1."""


def segpgd(logits: Tensor, labels: Tensor, progress: float, targeted: bool) -> Tensor:
    """Weight pixels that are as wanted by λ = t/2T, others by 1 − λ (SegPGD; Gu et al. 2022)."""
    wanted = (logits.argmax(dim=1) == labels) == targeted
    return torch.where(wanted, progress / 2, 1 - progress / 2)


def cospgd(logits: Tensor, labels: Tensor, progress: float, targeted: bool) -> Tensor:
    """Weight by cos(softmax, one-hot), or 1 − cos if targeted (CosPGD; Agnihotri et al. 2024)."""
    cosine = dense.cosine(logits, labels)
    return 1 - cosine if targeted else cosine


WEIGHTINGS: dict[str, Weighting | None] = {"none": None, "segpgd": segpgd, "cospgd": cospgd}
"""THE table of weightings, by the values of the parameter ``weighting``."""
