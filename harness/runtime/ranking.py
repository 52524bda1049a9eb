"""Comparisons: outputs of items, decision values, losses and flipped labels.

The memory of every function grows with items and with rows, never with rows × dimension: large
sets of comparisons over few items are usual.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Data, Edits, Loss, as_input
from harness.runtime.model import eval_mode
from harness.runtime.tasks import decision_values

ROWS = 8192
"""Comparisons whose decision values or losses are computed at once."""

LABEL = -2
"""The column of a comparison's label."""


def referenced_items(data: Data) -> Tensor:
    """Return the rows of ``data.raw`` that a comparison names, each once, in order."""
    assert data.spec.arity is not None
    items: Tensor = torch.unique(data.y[:, : data.spec.arity]).cpu()
    return items


def item_outputs(predict: Callable[[Tensor], Tensor], data: Data, batch: int) -> Tensor:
    """Return the outputs of all items, ``[M, D]``; 0 for items that no comparison names.

    Args:
        predict: inputs as modules see them to outputs ``[B, D]``; called without gradients, once
            for each item.
        data: comparisons and their items.
        batch: items of a call.
    """
    items = referenced_items(data)
    outputs: Tensor | None = None
    for rows in torch.split(items, batch):
        with torch.no_grad():
            found = predict(as_input(data.raw[rows], data.device))
        if outputs is None:
            outputs = found.new_zeros(len(data.raw), *found.shape[1:])
        outputs[rows.to(outputs.device)] = found
    assert outputs is not None, "a set without comparisons has no items"
    return outputs


def map_rows(f: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    """Apply ``f`` to comparisons in parts of ``ROWS``, without gradients; return ``[N]``."""
    with torch.no_grad():
        return torch.cat([f(part) for part in torch.split(y, ROWS)])


def decisions(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the decision values of many comparisons, ``[N]``; see ``tasks.decision_values``.

    >>> decisions(torch.tensor([[1.0], [3.0]]), torch.tensor([[0, 1, 1, 0]]))
    tensor([-2.])
    """
    return map_rows(lambda part: decision_values(outputs, part), y)


def feature_differences(points: Tensor, y: Tensor) -> Tensor:
    """Return the features of comparisons for a linear model, ``[N, F]``; a swap flips their sign.

    Pairs (u, v): u − v. Triplets (a, p, q): |p − a| − |q − a|, which is negative where p is nearer.
    The one function here whose result has rows × dimension.

    >>> points = torch.tensor([[1.0], [3.0], [4.0]])
    >>> feature_differences(points, torch.tensor([[0, 1, 1, 0]]))
    tensor([[-2.]])
    >>> feature_differences(points, torch.tensor([[0, 1, 2, 1, 0]]))
    tensor([[-1.]])
    """
    if y.shape[1] == 4:
        return points[y[:, 0]] - points[y[:, 1]]
    anchor, near, far = (points[y[:, k]] for k in range(3))
    return (near - anchor).abs() - (far - anchor).abs()


def row_losses(network: nn.Module, loss: Loss, data: Data, batch: int) -> Tensor:
    """Return the loss of every comparison, ``[N]``, in eval mode, with one pass for each item.

    Args:
        network: mode and gradients of parameters are restored.
        loss: loss that calls the network once, on its inputs as they are, as losses of victims do;
            it is called with an identity as network and with outputs as inputs.
        data: comparisons and their items.
        batch: items of a pass.
    """
    with eval_mode(network):
        outputs = item_outputs(network, data, batch)
    return map_rows(lambda part: loss(nn.Identity(), outputs, part), data.y)


def flip_labels(y: Tensor) -> Tensor:
    """Return comparisons with the other label.

    >>> flip_labels(torch.tensor([[0, 1, 1, 0]]))
    tensor([[ 0,  1, -1,  0]])
    """
    y = y.clone()
    y[:, LABEL] *= -1
    return y


def label_flips(data: Data, rows: Tensor) -> Edits:
    """Return edits that flip the labels of these rows; of a triplet this is a swap."""
    return Edits(ids=data.ids[rows.cpu()], y=flip_labels(data.y[rows.to(data.y.device)]))


def smallest(values: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return the indices of the ``count`` smallest values, ``[count]``; ties are drawn.

    >>> smallest(torch.tensor([2.0, 1.0, 3.0]), 2, torch.Generator()).tolist()
    [1, 0]
    """
    order = torch.randperm(len(values), generator=generator).to(values.device)
    return order[values[order].argsort(stable=True)[:count]]


def shares(sizes: Tensor, count: int) -> Tensor:
    """Split ``count`` in proportion to ``sizes``, into integers that sum to it.

    By largest remainders, the earlier of equal ones first; no part exceeds its size.

    >>> shares(torch.tensor([3, 3, 4]), 4).tolist()
    [1, 1, 2]
    """
    exact = sizes.double() * count / max(1, int(sizes.sum()))
    parts = exact.floor().long()
    rest = (exact - parts).argsort(descending=True, stable=True)
    parts[rest[: count - int(parts.sum())]] += 1
    return parts


def count_by_attribute(y: Tensor, rows: Tensor, names: tuple[str, ...]) -> str:
    """Return a line for the log: how many of the rows fall on each attribute.

    >>> y = torch.tensor([[0, 1, 1, 0], [0, 1, 1, 1], [2, 1, 1, 1]])
    >>> count_by_attribute(y, torch.tensor([0, 2]), ("young",))
    'young 1 of 1, attribute 1 1 of 2'
    """
    all_of, chosen = (torch.bincount(part, minlength=int(y[:, -1].max()) + 1).tolist()
                      for part in (y[:, -1], y[rows.to(y.device), -1]))  # fmt: skip
    return ", ".join(
        f"{names[k] if k < len(names) else f'attribute {k}'} {found} of {total}"
        for k, (found, total) in enumerate(zip(chosen, all_of, strict=True))
        if total
    )
