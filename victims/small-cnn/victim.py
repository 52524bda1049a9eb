"""Small convolutional classifier: three stages, global average pooling, one linear head."""

from __future__ import annotations

from torch import Tensor, nn

from harness.runtime.contracts import Data, Spec
from harness.runtime.recipe import Recipe


class Network(nn.Module):
    """Network from images in [0, 1] to logits ``[B, K]``."""

    def __init__(self, channels: int, outputs: int, width: int) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            stage(channels, width, stride=1),
            stage(width, 2 * width, stride=2),
            stage(2 * width, 4 * width, stride=2),
        )
        self.head = nn.Linear(4 * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.stages((x - 0.5) / 0.25)
        logits: Tensor = self.head(maps.mean(dim=(2, 3)))
        return logits


def stage(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    """Build convolution, batch norm and ReLU; a stride of 2 halves the side."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class SmallCNN:
    """Classifier trained by SGD with momentum and a cosine schedule.

    Args:
        width: channels of the first stage; the others have 2 and 4 times as many.
        steps: gradient steps of a whole training.
        batch: examples of a step.
        lr: learning rate at the start.
        weight_decay: L2 penalty on all parameters.
    """

    head = "head"
    stages = ("stages.0", "stages.1", "stages.2")

    def __init__(self, *, width: int, steps: int, batch: int, lr: float, weight_decay: float):
        self.width, self.steps, self.batch = width, steps, batch
        self.lr, self.weight_decay = lr, weight_decay

    def build(self, spec: Spec) -> nn.Module:
        return Network(spec.shape[0], spec.outputs, self.width)

    def recipe(self, train: Data) -> Recipe:
        return Recipe(
            steps=self.steps,
            batch=self.batch,
            lr=self.lr,
            weight_decay=self.weight_decay,
            head=self.head,
            schedule="cosine",
            log_every=100,
        )
