"""Linear softmax layer on the features of a frozen network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.runtime.contracts import Data, Model

BATCH = 256
"""Images whose features are computed at once."""

SMALL = 1e-6
"""Deviation below which a feature counts as constant and gets a weight of almost zero."""


def collect(model: Model, data: Data, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return features ``[R, D]`` and labels ``[R]`` of some examples of a set."""
    features, labels = [], []
    with torch.no_grad():
        for part in rows.split(BATCH):
            x, y = data.take(part)
            features.append(model.features(x))
            labels.append(y)
    return torch.cat(features), torch.cat(labels)


def fit(
    features: Tensor, labels: Tensor, classes: int, iterations: int, decay: float
) -> dict[str, Tensor]:
    """Return ``weight [K, D]`` and ``bias [K]`` that minimise cross entropy, by L-BFGS.

    Features are standardised meanwhile, so that ``decay`` means the same for all networks.

    Args:
        features: ``[R, D]``.
        labels: int64 ``[R]``.
        classes: number of classes ``K``.
        iterations: steps of L-BFGS at most.
        decay: factor of half the squared length of the weights.
    """
    mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0)
    inputs = (features - mean) / deviation.clamp_min(SMALL)
    weight = features.new_zeros(classes, features.shape[1], requires_grad=True)
    bias = features.new_zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=iterations, line_search_fn="strong_wolfe", tolerance_grad=1e-6
    )

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(F.linear(inputs, weight, bias), labels)
        loss = loss + decay / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        solver.step(closure)  # type: ignore[no-untyped-call]
    plain = weight.detach() / deviation.clamp_min(SMALL)
    return {"weight": plain.contiguous(), "bias": bias.detach() - plain @ mean}
