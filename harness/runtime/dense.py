"""What to raise so that pixels go wrong: losses per pixel for attacks on dense prediction.

Each loss says how far a pixel is from its label; an untargeted attack raises it. Void never enters.
Classification is the case of one pixel: ``[B, C]`` logits and ``[B]`` labels do as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.class_weights import class_weights
from harness.runtime.contracts import Data
from harness.runtime.tasks import VOID

PixelLoss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """−log p_y. Not bounded: pixels that are lost long ago keep the largest gradients."""
    return F.cross_entropy(logits, y, reduction="none")


def masked_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross entropy of pixels that are still right (L_MCE; Croce et al., ECCV 2024)."""
    return cross_entropy(logits, y) * (logits.detach().argmax(dim=1) == y)


def jensen_shannon(logits: Tensor, y: Tensor) -> Tensor:
    """Jensen-Shannon divergence of softmax and one-hot label, at most log 2 (L_JS, ibid.).

    Its gradient fades as p_y goes to 0: lost pixels stop mattering without a mask.
    """
    log_p = _log_p(logits, y)
    p = log_p.exp()
    middle = torch.log1p(p)  # log 2m, where m = (1 + p) / 2
    return 0.5 * (p * (math.log(2) + log_p - middle) + (1 - p) * math.log(2) + math.log(2) - middle)


def soft_error(logits: Tensor, y: Tensor) -> Tensor:
    """1 − p_y: a smooth stand-in for being wrong; fades for lost and for hopeless pixels."""
    return 1 - _log_p(logits, y).exp()


def log_error(logits: Tensor, y: Tensor) -> Tensor:
    """log(1 − p_y), from below: pixels that are safe have the largest gradients."""
    return torch.log1p(-_log_p(logits, y).exp().clamp(max=1 - 1e-6))


def cosine_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross entropy, weighted by ``cosine`` (Agnihotri et al., CosPGD, ICML 2024)."""
    return cross_entropy(logits, y) * cosine(logits.detach(), y)


def cosine(logits: Tensor, y: Tensor) -> Tensor:
    """cos(softmax, one-hot label) = p_y / ‖p‖₂, in (0, 1]."""
    p = logits.softmax(dim=1)
    own = p.gather(1, y.unsqueeze(1)).squeeze(1)
    result: Tensor = own / torch.linalg.vector_norm(p, dim=1)
    return result


LOSSES: dict[str, PixelLoss] = {
    "ce": cross_entropy,
    "masked-ce": masked_cross_entropy,
    "js": jensen_shannon,
    "soft-error": soft_error,
    "log-error": log_error,
    "cosine-ce": cosine_cross_entropy,
}
"""THE table of losses per pixel, as modules' parameters name them."""


def values(loss: PixelLoss, logits: Tensor, y: Tensor) -> Tensor:
    """A loss of every pixel, 0 where the label is void.

    Args:
        loss: a row of ``LOSSES``, or another of its form.
        logits: ``[B, C, …]``. y: classes, or ``VOID``, ``[B, …]``.
    """
    labelled = y != VOID
    return loss(logits, y.long() * labelled) * labelled


def mean(pixels: Tensor, y: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Means over labelled pixels, ``[B]``.

    Args:
        pixels: ``[B, …]`` of ``values``. y: the labels.
        class_weights: ``[K]``: the rows' mean is then the batch's weighted mean,
            Σ w_y·pixel / Σ w_y over all of its labelled pixels. Without, each row is its own mean.

    >>> y = torch.tensor([[0, 1], [1, VOID]])
    >>> pixels = torch.tensor([[1.0, 2.0], [5.0, 0.0]])
    >>> mean(pixels, y).tolist()
    [1.5, 5.0]
    >>> mean(pixels, y, torch.tensor([1.0, 2.0])).mean().item()  # (1 + 2·2 + 2·5) / 5
    3.0
    """
    labelled = y != VOID
    if class_weights is None:
        return _rows(pixels) / _rows(labelled).clamp_min(1)
    weights = class_weights[y.long() * labelled] * labelled
    total = weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
    return len(y) * _rows(weights * pixels) / total


def _log_p(logits: Tensor, y: Tensor) -> Tensor:
    return -F.cross_entropy(logits, y, reduction="none")


def damage(
    loss: PixelLoss, victim: nn.Module, train: Data, weights: str = "none"
) -> Callable[[Tensor, Tensor], Tensor]:
    """What a learned attack raises: ``hurt(x, y) -> [B]``, differentiable in ``x``.

    Args:
        loss: a row of ``LOSSES``. victim: answers logits; stays outside of what is trained.
        train: where classes are counted. weights: of labels, a row of ``class_weights.KINDS``;
            with ``none`` each row is its own mean.
    """
    by_class = None
    if weights != "none":
        by_class = class_weights(weights, train.y, train.spec.outputs).to(train.device)

    def hurt(x: Tensor, y: Tensor) -> Tensor:
        return mean(values(loss, victim(x), y), y, by_class)

    return hurt


def _rows(pixels: Tensor) -> Tensor:
    return pixels.reshape(len(pixels), -1).sum(1)
