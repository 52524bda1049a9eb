"""A Siamese ranker: one small network scores every item, a comparison is a difference of scores."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, Loss, NotApplicable, Spec
from harness.runtime.training import fit


class Network(nn.Module):
    """Scores ``[B, D]``, one column an attribute; an item is scored once, whatever it meets."""

    def __init__(self, shape: tuple[int, ...], outputs: int, width: int) -> None:
        super().__init__()
        images = len(shape) == 3
        layer = convolution if images else dense
        self.stages = nn.Sequential(
            layer(shape[0], width, stride=1),
            layer(width, 2 * width, stride=2),
            layer(2 * width, 4 * width, stride=2),
        )
        self.pool = (
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()) if images else nn.Identity()
        )
        self.head = nn.Linear(4 * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.pool(self.stages((x - 0.5) / 0.25)))
        return scores


def convolution(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    """A stage for images; every stride of 2 halves the picture."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def dense(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    """A stage for features, which have no side to halve."""
    return nn.Sequential(nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU())


def gaps(scores: Tensor, y: Tensor) -> Tensor:
    """Score of the first item minus score of the second, in the compared attribute, ``[B]``."""
    first, second, attribute = y[:, 0], y[:, 1], y[:, 3]
    return scores[first, attribute] - scores[second, attribute]


LOSSES = {
    "square": lambda gap, label: 0.5 * (gap - label) ** 2,
    "logistic": lambda gap, label: F.softplus(-label * gap),
}


class SiameseRanker:
    """Trained by SGD with a cosine schedule on least squares or on the logistic RankNet loss."""

    head = "head"
    stages = ("stages.0", "stages.1", "stages.2")

    def __init__(
        self, *, objective: str, width: int, steps: int, batch: int, lr: float, weight_decay: float
    ) -> None:
        self.objective = LOSSES[objective]
        self.width, self.steps, self.batch = width, steps, batch
        self.lr, self.weight_decay = lr, weight_decay

    def build(self, spec: Spec) -> nn.Module:
        if spec.arity != 2 or spec.items is not None:
            raise NotApplicable("the Siamese ranker compares pairs of images or feature vectors")
        return Network(spec.shape, spec.outputs, self.width)

    def loss(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        scores = network(x)
        return self.objective(gaps(scores, y), y[:, 2].to(scores.dtype))

    def fit(
        self,
        network: nn.Module,
        train: Data,
        val: Data,
        loss: Loss,
        ctx: Context,
        steps: int | None = None,
    ) -> None:
        fit(
            network,
            train,
            loss,
            ctx,
            steps=self.steps if steps is None else steps,
            batch=self.batch,
            lr=self.lr,
            weight_decay=self.weight_decay,
            schedule="cosine",
            val=val,
            log_every=100,
        )
