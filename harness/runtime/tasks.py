"""THE task table: what differs between classification, ranking and segmentation at run time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.contracts import Loss, Spec

VOID = 255


def decision_values(outputs: Tensor, y: Tensor) -> Tensor:
    """How far each comparison is decided, ``[B]``; positive means label +1.

    Pairs: ``f(u)[attr] − f(v)[attr]``. Triplets: ``d(a, q) − d(a, p)``, Euclidean.

    Args:
        outputs: scores or embeddings per item, ``[M, D]``.
        y: ``[B, arity + 2]``: item rows, label ±1, attribute.
    """
    if y.shape[1] == 4:
        attribute = y[:, 3]
        return outputs[y[:, 0], attribute] - outputs[y[:, 1], attribute]
    # one gather for all: its gradient is what a step on small embeddings spends most time on
    places = outputs.index_select(0, y[:, :3].T.flatten()).view(3, len(y), -1)
    near, far = torch.linalg.vector_norm(places[:1] - places[1:], dim=2)
    result: Tensor = far - near
    return result


def classification_loss(outputs: Tensor, y: Tensor) -> Tensor:
    """Cross entropy, ``[B]``."""
    return F.cross_entropy(outputs, y, reduction="none")


def ranking_loss(outputs: Tensor, y: Tensor) -> Tensor:
    """``½ (s − y)²`` on decision values, ``[B]``."""
    return 0.5 * (decision_values(outputs, y) - y[:, -2].to(outputs.dtype)) ** 2


def segmentation_loss(outputs: Tensor, y: Tensor) -> Tensor:
    """Cross entropy averaged over each image's labelled pixels, ``[B]``; void never enters it."""
    labelled = (y != VOID).sum(dim=(1, 2)).clamp_min(1)
    pixels = F.cross_entropy(outputs, y.long(), reduction="none", ignore_index=VOID)
    return pixels.sum(dim=(1, 2)) / labelled


@dataclass(frozen=True)
class Task:
    """One row of the table.

    Attributes:
        loss: outputs and labels to one value a row.
        store: outputs to what ``predict`` keeps.
        shapes: the shapes that the network's outputs on a batch of inputs may have.
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
        # networks that were trained with an output for void have one more, the last
        lambda x, spec: tuple((len(x), spec.outputs + k, *x.shape[2:]) for k in (0, 1)),
    ),
}


def loss_for(task: str) -> Loss:
    """The task's default ``loss(network, x, y) -> [B]``.

    >>> net = torch.nn.Flatten()
    >>> x, y = torch.zeros(2, 1, 1, 4), torch.tensor([0, 3])
    >>> loss_for("classification")(net, x, y).shape
    torch.Size([2])
    """
    row = TASKS[task].loss

    def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return row(network(x), y)

    return loss
