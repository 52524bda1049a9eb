"""Table of tasks: loss, stored outputs and output shapes of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.contracts import Loss, Spec

VOID = 255
"""Label of pixels that do not count."""


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


def classification_loss(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the cross entropy, ``[B]``."""
    return F.cross_entropy(outputs, y, reduction="none")


def ranking_loss(outputs: Tensor, y: Tensor) -> Tensor:
    """Return ½ (s − y)² of decision values s and labels y, ``[B]``."""
    return 0.5 * (decision_values(outputs, y) - y[:, -2].to(outputs.dtype)) ** 2


def segmentation_loss(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the mean cross entropy over the labelled pixels of each image, ``[B]``."""
    labelled = (y != VOID).sum(dim=(1, 2)).clamp_min(1)
    pixels = F.cross_entropy(outputs, y.long(), reduction="none", ignore_index=VOID)
    return pixels.sum(dim=(1, 2)) / labelled


@dataclass(frozen=True)
class Task:
    """Row of the table.

    Attributes:
        loss: function of outputs and labels that returns one value per row.
        store: function that converts outputs to the form that ``predict`` writes.
        shapes: function that returns the allowed shapes of outputs for a batch of inputs.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    store: Callable[[Tensor], Tensor]
    shapes: Callable[[Tensor, Spec], tuple[tuple[int, ...], ...]]


TASKS: dict[str, Task] = {
    "classification": Task(
        classification_loss, lambda out: out.float(), lambda x, spec: ((len(x), spec.outputs),)
    ),
    "ranking": Task(
        ranking_loss, lambda out: out.float(), lambda x, spec: ((len(x), spec.outputs),)
    ),
    "segmentation": Task(
        segmentation_loss,
        lambda out: out.argmax(dim=1).to(torch.uint8),
        # networks trained with an output for void have one more channel, the last
        lambda x, spec: tuple((len(x), spec.outputs + k, *x.shape[2:]) for k in (0, 1)),
    ),
}
"""Task → its row."""


def loss_for(task: str) -> Loss:
    """Return the task's default ``loss(network, x, y) -> [B]``.

    >>> net = torch.nn.Flatten()
    >>> x, y = torch.zeros(2, 1, 1, 4), torch.tensor([0, 3])
    >>> loss_for("classification")(net, x, y).shape
    torch.Size([2])
    """
    row = TASKS[task].loss

    def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return row(network(x), y)

    return loss
