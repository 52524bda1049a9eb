"""Per-pixel loss functions for attacks on dense prediction.

A loss grows with the distance of a pixel from its label; an untargeted attack raises it. Void
pixels have none. Classification is the case of one pixel: ``[B, C]`` logits and ``[B]`` labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.class_weights import class_weights
from harness.runtime.contracts import Data
from harness.runtime.gradients import like_rows

PixelLoss = Callable[[Tensor, Tensor], Tensor]
"""``loss_fn(logits, y)``: logits ``[B, C, …]`` and labels ``[B, …]`` to a value a label."""


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return −log p_y. Unbounded: pixels that are misclassified keep the largest gradients."""
    return F.cross_entropy(logits, y, reduction="none")


def masked_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross entropy of pixels that are still right (L_MCE; Croce et al., ECCV 2024)."""
    return cross_entropy(logits, y) * (logits.detach().argmax(dim=1) == y)


def jensen_shannon(logits: Tensor, y: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence of softmax and one-hot label (L_JS; Croce et al. 2024).

    At most log 2. Its gradient vanishes as p_y goes to 0: misclassified pixels need no mask.
    """
    log_p = _log_p(logits, y)
    p = log_p.exp()
    middle = torch.log1p(p)  # log 2m, where m = (1 + p) / 2
    return 0.5 * (p * (math.log(2) + log_p - middle) + (1 - p) * math.log(2) + math.log(2) - middle)


def soft_error(logits: Tensor, y: Tensor) -> Tensor:
    """Return 1 − p_y, a smooth 0-1 loss; its gradient vanishes as p_y goes to 0 or to 1."""
    return 1 - _log_p(logits, y).exp()


def log_error(logits: Tensor, y: Tensor) -> Tensor:
    """Return log(1 − p_y): pixels that are confidently right have the largest gradients."""
    return torch.log1p(-_log_p(logits, y).exp().clamp(max=1 - 1e-6))


def cosine_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross entropy weighted by ``cosine`` (CosPGD; Agnihotri et al., ICML 2024)."""
    return cross_entropy(logits, y) * cosine(logits.detach(), y)


def cosine(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cosine similarity of softmax and one-hot label, p_y / ‖p‖₂, in (0, 1]."""
    p = logits.softmax(dim=1)
    own = p.gather(1, y.unsqueeze(1)).squeeze(1)
    result: Tensor = own / torch.linalg.vector_norm(p, dim=1)
    return result


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Return the difference of logits ratio, −(z_y − max other z) / (z_π1 − z_π3).

    Equation 5 of Croce and Hein (ICML 2020); π sorts the logits from the largest on. Neither the
    value nor the direction of the gradient depends on the logits' scale. With two classes the ratio
    is constant, and the value is the margin, max other z − z_y.
    """
    z, y = _wide(logits), y.unsqueeze(1)
    others = z.scatter(1, y, -math.inf).amax(dim=1)
    margin = others - z.gather(1, y).squeeze(1)
    if z.shape[1] < 3:
        return margin.to(logits.dtype)
    top = z.topk(3, dim=1).values
    return (margin / _spread(top[:, 0] - top[:, 2], z)).to(logits.dtype)


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Return the targeted form, −(z_y − z_t) / (z_π1 − (z_π3 + z_π4) / 2): raised toward t.

    Equation 6 of Croce and Hein (ICML 2020). With fewer than four classes the value is the
    difference z_t − z_y.

    Args:
        logits: ``[B, K]``.
        y: true classes, int64 ``[B]``.
        target: classes to reach, int64 ``[B]``.
    """
    z = _wide(logits)
    own, wanted = (z.gather(1, one.unsqueeze(1)).squeeze(1) for one in (y, target))
    if z.shape[1] < 4:
        return (wanted - own).to(logits.dtype)
    top = z.topk(4, dim=1).values
    spread = _spread(top[:, 0] - (top[:, 2] + top[:, 3]) / 2, z)
    return ((wanted - own) / spread).to(logits.dtype)


def _spread(spread: Tensor, z: Tensor) -> Tensor:
    """Return a denominator; where it is exactly zero, the range of the logits, or 1."""
    whole = (z.amax(dim=1) - z.amin(dim=1)).detach()
    return torch.where(spread > 0, spread, torch.where(whole > 0, whole, 1))


def _wide(logits: Tensor) -> Tensor:
    """Return the logits in float64, in which ratios of float32 numbers neither over- nor underflow.

    The gradient of a ratio is as large as the logits are small. Where it leaves the range of
    float32, the whole row of the batch is multiplied by a power of two, which keeps its direction.
    """
    z = logits.double()
    if z.requires_grad:
        z.register_hook(_fit_float32)  # type: ignore[no-untyped-call]
    return z


def _fit_float32(gradient: Tensor) -> Tensor:
    """Return a float64 gradient with every row scaled down to at most 2¹⁰⁰."""
    _, exponent = torch.frexp(gradient.abs().flatten(1).amax(dim=1))
    factor = torch.exp2(-(exponent - 100).clamp_min(0).double())
    return gradient * like_rows(factor, gradient)


def divergence(reference: Tensor, logits: Tensor) -> Tensor:
    """Return KL(p ‖ q) of the softmax p of ``reference`` and q of ``logits``, ``[B, …]``.

    Differentiable in both, also where probabilities are zero in float32.

    Args:
        reference: logits ``[B, C, …]``.
        logits: of the same shape.

    >>> p = torch.tensor([[0.0, math.log(3)]])  # ¼ and ¾
    >>> divergence(p, torch.zeros(1, 2))  # ¼ log ½ + ¾ log 1½
    tensor([0.1308])
    """
    log_p, log_q = reference.log_softmax(dim=1), logits.log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


LOSSES: dict[str, PixelLoss] = {
    "ce": cross_entropy,
    "masked-ce": masked_cross_entropy,
    "js": jensen_shannon,
    "soft-error": soft_error,
    "log-error": log_error,
    "cosine-ce": cosine_cross_entropy,
    "dlr": dlr,
}
"""THE table of per-pixel losses, by the names that parameters of modules use."""


def values(loss_fn: PixelLoss, logits: Tensor, y: Tensor, void: int | None = None) -> Tensor:
    """Return the loss of every pixel, ``[B, …]``, 0 where the label is void.

    Args:
        loss_fn: a row of ``LOSSES``, or another of its form.
        logits: ``[B, C, …]``.
        y: classes or void, ``[B, …]``.
        void: the data set's ``spec.void``; ``None`` where every label is a class.
    """
    if void is None:
        return loss_fn(logits, y.long())
    labelled = y != void
    return loss_fn(logits, y.long() * labelled) * labelled


def mean(
    pixels: Tensor, y: Tensor, class_weights: Tensor | None = None, void: int | None = None
) -> Tensor:
    """Return the mean over the labelled pixels of each row, ``[B]``.

    Args:
        pixels: result of ``values``, ``[B, …]``.
        y: classes or void, ``[B, …]``.
        class_weights: ``[K]``; the mean of the rows is then the weighted mean of the batch,
            Σ w_y·pixel / Σ w_y over all of its labelled pixels.
        void: the data set's ``spec.void``; ``None`` where every label is a class.

    >>> y = torch.tensor([[0, 1], [1, 255]])
    >>> pixels = torch.tensor([[1.0, 2.0], [5.0, 0.0]])
    >>> mean(pixels, y, void=255).tolist()
    [1.5, 5.0]
    >>> mean(pixels, y, torch.tensor([1.0, 2.0]), void=255).mean().item()  # (1 + 2·2 + 2·5) / 5
    3.0
    """
    labelled = torch.ones_like(y, dtype=torch.bool) if void is None else y != void
    if class_weights is None:
        return _rows(pixels) / _rows(labelled).clamp_min(1)
    weights = class_weights[y.long() * labelled] * labelled
    total = weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
    return len(y) * _rows(weights * pixels) / total


def _log_p(logits: Tensor, y: Tensor) -> Tensor:
    return -F.cross_entropy(logits, y, reduction="none")


def weighted(loss_fn: PixelLoss, class_weights: Tensor) -> PixelLoss:
    """Return the loss function with every label weighted by its class.

    Args:
        loss_fn: a row of ``LOSSES``, or another of its form.
        class_weights: ``[K]``, on the device of the labels.

    >>> weigh = weighted(cross_entropy, torch.tensor([1.0, 3.0]))
    >>> weigh(torch.zeros(2, 2), torch.tensor([0, 1])) / math.log(2)
    tensor([1., 3.])
    """
    return lambda logits, y: class_weights[y] * loss_fn(logits, y)


def victim_loss(
    loss_fn: PixelLoss, victim: nn.Module, train: Data, weights: str = "none"
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return ``loss(x, y) -> [B]`` of the victim, differentiable in ``x``.

    Args:
        loss_fn: a row of ``LOSSES``.
        victim: network that returns logits; it is not trained.
        train: set whose labels are counted for the weights.
        weights: a row of ``class_weights.KINDS``; with ``none`` each row is its own mean.
    """
    by_class, void = None, train.spec.void
    if weights != "none":
        by_class = class_weights(weights, train.y, train.spec.outputs, void).to(train.device)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return mean(values(loss_fn, victim(x), y, void), y, by_class, void)

    return loss


def _rows(pixels: Tensor) -> Tensor:
    return pixels.reshape(len(pixels), -1).sum(1)
