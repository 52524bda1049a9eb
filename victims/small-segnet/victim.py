"""Small segmentation network: an encoder, a decoder, and a skip connection at half size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.contracts import Data, Spec
from harness.runtime.recipe import Recipe


class Network(nn.Module):
    """Network from images in [0, 1] to logits ``[B, K, H, W]``.

    The decoder ends at half size. Its logits are doubled by copying and then averaged, which is
    bilinear resizing except at the border; torch's own has no deterministic gradient on a GPU.
    """

    def __init__(self, channels: int, outputs: int, width: int) -> None:
        super().__init__()
        middle, deep = 3 * width, 5 * width
        self.stages = nn.ModuleList(
            [
                nn.Sequential(*layer(channels, width)),
                nn.Sequential(*layer(width, middle, stride=2), *layer(middle, middle)),
                nn.Sequential(
                    *layer(middle, deep, stride=2), *layer(deep, deep), *layer(deep, deep)
                ),
            ]
        )
        self.narrow = nn.Conv2d(deep, middle, 1)
        self.join = nn.Sequential(*layer(middle, middle))
        self.head = nn.Conv2d(middle, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        half = self.stages[1](self.stages[0]((x - 0.5) / 0.25))
        deep = self.narrow(self.stages[2](half))
        joined = self.join(half + F.interpolate(deep, size=half.shape[2:]))
        logits = F.interpolate(self.head(joined), size=x.shape[2:])
        return F.avg_pool2d(logits, 3, stride=1, padding=1, count_include_pad=False)


def layer(inputs: int, outputs: int, *, stride: int = 1) -> tuple[nn.Module, ...]:
    """Build convolution, batch norm and ReLU; a stride of 2 halves the side."""
    return (
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class SmallSegNet:
    """Segmentation network trained by Adam with a cosine schedule.

    Args:
        width: channels at full size; half and quarter size have 3 and 5 times as many.
        steps: gradient steps of a whole training.
        batch: pictures of a step.
        lr: learning rate at the start.
    """

    head = "head"
    stages = ("stages.0", "stages.1", "stages.2")

    def __init__(self, *, width: int, steps: int, batch: int, lr: float) -> None:
        self.width, self.steps, self.batch, self.lr = width, steps, batch, lr

    def build(self, spec: Spec) -> nn.Module:
        return Network(spec.shape[0], spec.outputs, self.width)

    def recipe(self, train: Data) -> Recipe:
        return Recipe(
            steps=self.steps,
            batch=self.batch,
            lr=self.lr,
            optimizer="adam",
            head=self.head,
            schedule="cosine",
            log_every=100,
        )
