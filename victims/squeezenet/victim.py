"""SqueezeNet 1.0 (Iandola et al. 2016) as its authors released it, for BGR pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import squeezenet1_0

from harness.runtime.contracts import Data, Spec
from harness.runtime.recipe import Recipe

MEANS = (104.0, 117.0, 123.0)
"""Means of ImageNet's channels, blue first, of values from 0 to 255."""

SCALE = 12.0
"""Mean of the released network's last map on photographs: divided by it, the features of a linear
head are about 1, as those of networks with batch norm, and learn at the same rates."""

DROPOUT = 0.5
CHANNELS = 512
"""Channels of the last map."""

LAYERS = {
    "conv1": "features.0",
    "conv_final": "head",
    **{
        f"fire{k}/{theirs}": f"features.{k + 1 + (k > 4) + (k > 8)}.{ours}"
        for k in range(2, 10)
        for theirs, ours in (
            ("conv1x1_1", "squeeze"),
            ("conv1x1_2", "expand1x1"),
            ("conv3x3_2", "expand3x3"),
        )
    },
}
"""Layer of the released weights → of ``Network``; ``fire2`` is ``features.3``."""


class Network(nn.Module):
    """Network from images in [0, 1] ``[B, 3, H, W]`` to logits ``[B, K]``.

    Args:
        outputs: number of classes.
        linear: whether the head is a linear layer on the mean of the last map. As released, it is a
            1x1 convolution whose rectified map is averaged, with a border of one zero.
    """

    means: Tensor

    def __init__(self, outputs: int, *, linear: bool) -> None:
        super().__init__()
        self.features = squeezenet1_0(weights=None).features
        self.dropout = nn.Dropout(DROPOUT)
        self.linear = linear
        self.head = (
            nn.Linear(CHANNELS, outputs) if linear else nn.Conv2d(CHANNELS, outputs, 1, padding=1)
        )
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("means", torch.tensor(MEANS).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.dropout(self.features(255 * x.flip(1) - self.means))
        logits: Tensor = (
            self.head(mean(maps) / SCALE)
            if self.linear
            else mean(nn.functional.relu(self.head(maps)))
        )
        return logits


def mean(maps: Tensor) -> Tensor:
    """Return the mean ``[B, C]`` of each channel."""
    return maps.mean(dim=(2, 3))


class SqueezeNet:
    """SqueezeNet 1.0, trained by SGD as transfer learning fine-tunes it.

    Args:
        last_layer: ``linear`` or ``released``, see ``Network``.
        recipe: fields of the training recipe.
    """

    head = "head"
    stages = ("features.1", "features.5", "features.10", "features.12")

    def __init__(self, *, last_layer: str, **recipe: bool | float | str) -> None:
        self.linear, self.training = last_layer == "linear", Recipe(head=self.head, **recipe)

    def build(self, spec: Spec) -> nn.Module:
        return Network(spec.outputs, linear=self.linear)

    def recipe(self, train: Data) -> Recipe:
        return self.training

    def import_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the released layers; a name that is none of theirs stays, and is then refused."""
        found = {}
        for name, tensor in tensors.items():
            layer, _, part = name.rpartition(".")
            found[f"{LAYERS.get(layer, layer)}.{part}"] = tensor
        return found
