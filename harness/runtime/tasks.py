"""Table of tasks: loss, stored outputs and output shapes of each; the check of an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.contracts import Loss, OutputError, Spec

NO_CLASS = 255
"""Stored class of a pixel with a logit that is not finite: no class, so it is wrong.

Segmentation has at most 254 classes, and one output more for void, so no class has this number.
"""


def decision_values(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the decision value of each comparison, ``[B]``; positive means label +1.

    Pairs: ``f(u)[attr] − f(v)[attr]``. Triplets: ``d(a, q) − d(a, p)``, Euclidean.

    Args:
        outputs: scores or embeddings of the items, ``[M, D]``.
        y: comparisons ``[B, arity + 2]``: item rows, label ±1, attribute.
    """
    if y.shape[1] == 4:
        attribute = y[:, 3]
        return outputs[y[:, 0], attribute] - outputs[y[:, 1], attribute]
    # one gather for all: its backward pass takes most of a training step on small embeddings
    places = outputs.index_select(0, y[:, :3].T.flatten()).view(3, len(y), -1)
    near, far = torch.linalg.vector_norm(places[:1] - places[1:], dim=2)
    result: Tensor = far - near
    return result


def classification_loss(outputs: Tensor, y: Tensor, void: int | None = None) -> Tensor:
    """Return the cross entropy, ``[B]``; every label counts."""
    return F.cross_entropy(outputs, y, reduction="none")


def smoothed_loss(smoothing: float, outputs: Tensor, y: Tensor, void: int | None = None) -> Tensor:
    """Return the cross entropy with labels of which a share is spread over all classes, ``[B]``."""
    return F.cross_entropy(outputs, y, reduction="none", label_smoothing=smoothing)


def ranking_loss(outputs: Tensor, y: Tensor, void: int | None = None) -> Tensor:
    """Return ½ (s − y)² of decision values s and labels y, ``[B]``; every label counts."""
    return 0.5 * (decision_values(outputs, y) - y[:, -2].to(outputs.dtype)) ** 2


def segmentation_loss(outputs: Tensor, y: Tensor, void: int | None = None) -> Tensor:
    """Return the mean cross entropy over the labelled pixels of each image, ``[B]``.

    Args:
        outputs: logits ``[B, K, H, W]``.
        y: classes, ``[B, H, W]``.
        void: label of the pixels that do not count, or ``None`` where all do.
    """
    if void is None:
        return F.cross_entropy(outputs, y.long(), reduction="none").mean(dim=(1, 2))
    labelled = (y != void).sum(dim=(1, 2)).clamp_min(1)
    pixels = F.cross_entropy(outputs, y.long(), reduction="none", ignore_index=void)
    return pixels.sum(dim=(1, 2)) / labelled


def predicted_classes(logits: Tensor) -> Tensor:
    """Return the class of the largest logit of each pixel, int64 ``[B, H, W]``.

    It is ``NO_CLASS`` where a logit of the pixel is not finite.

    Args:
        logits: ``[B, K, H, W]``.

    >>> nan, inf = torch.nan, torch.inf
    >>> logits = torch.tensor([[[[0.0, nan, 2.0, 0.0]], [[1.0, 9.0, inf, -inf]]]])
    >>> predicted_classes(logits).tolist()
    [[[1, 255, 255, 255]]]
    """
    return logits.argmax(dim=1).where(torch.isfinite(logits).all(dim=1), NO_CLASS)


def _copied(outputs: Tensor) -> Tensor:
    return outputs.detach().to(torch.float32, copy=True)


@dataclass(frozen=True)
class Task:
    """Row of the table.

    Attributes:
        loss: function of outputs, labels and void that returns one value per row.
        store: function that copies outputs into the form that ``predict`` writes.
        shapes: function that returns the allowed shapes of outputs for a batch of inputs.
    """

    loss: Callable[[Tensor, Tensor, int | None], Tensor]
    store: Callable[[Tensor], Tensor]
    shapes: Callable[[Tensor, Spec], tuple[tuple[int, ...], ...]]


TASKS: dict[str, Task] = {
    "classification": Task(classification_loss, _copied, lambda x, spec: ((len(x), spec.outputs),)),
    "ranking": Task(ranking_loss, _copied, lambda x, spec: ((len(x), spec.outputs),)),
    "segmentation": Task(
        segmentation_loss,
        lambda out: predicted_classes(out).to(torch.uint8),
        # networks trained with an output for void have one more channel, the last
        lambda x, spec: tuple((len(x), spec.outputs + k, *x.shape[2:]) for k in (0, 1)),
    ),
}
"""Task → its row."""


def check_answer(out: object, x: Tensor, spec: Spec) -> Tensor:
    """Check type and shape of what a network returned; the values may be anything.

    Args:
        out: returned value.
        x: inputs of the pass, ``[B, …]``.
        spec: description of the data set.

    Returns:
        ``out`` itself, with its graph and its memory: who keeps it makes a copy.

    Raises:
        OutputError: it is no tensor, no float32, or of another shape.
    """
    if not isinstance(out, Tensor):
        raise OutputError(
            f"the network returned {type(out).__name__}, expected a Tensor; return outputs alone"
        )
    if out.layout != torch.strided:
        raise OutputError("the network returned a sparse tensor; return outputs.to_dense()")
    if out.dtype != torch.float32:
        raise OutputError(
            f"the network returned {str(out.dtype).removeprefix('torch.')}, expected float32; "
            "return outputs.float()"
        )
    shapes = TASKS[spec.task].shapes(x, spec)
    rows = out.ndim == len(shapes[0]) and len(out) == len(x)
    if rows and out.shape[1] not in {shape[1] for shape in shapes}:
        raise OutputError(
            f"the network has {out.shape[1]} outputs, and the data set {spec.outputs}; "
            "end it with spec.outputs outputs"
        )
    if tuple(out.shape) not in shapes:
        raise OutputError(
            f"the network returned shape {list(out.shape)} for {len(x)} inputs, expected "
            f"{list(shapes[0])}; keep the first dimension, also for one input"
        )
    return out


def loss_for(spec: Spec, smoothing: float = 0.0) -> Loss:
    """Return the default ``loss(network, x, y) -> [B]`` of a data set's task.

    Args:
        spec: description of the data set.
        smoothing: share of each label that is spread over all classes (Szegedy et al. 2016), in
            classification only.

    Raises:
        ValueError: labels of this task cannot be smoothed.

    >>> net = torch.nn.Flatten()
    >>> x, y = torch.zeros(2, 1, 1, 4), torch.tensor([0, 3])
    >>> loss_for(Spec("classification", 4, (1, 1, 4)))(net, x, y).shape
    torch.Size([2])
    """
    row = TASKS[spec.task].loss
    if smoothing:
        if spec.task != "classification":
            raise ValueError(f"label smoothing needs classes of whole images, not {spec.task}")
        row = partial(smoothed_loss, smoothing)

    def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return row(network(x), y, spec.void)

    return loss
