"""MobileNetV2 (Sandler et al. 2018), torchvision's, cut into stages."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from harness.runtime.contracts import Data, Spec
from harness.runtime.recipe import Recipe

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's channels."""

CUTS = (0, 4, 7, 11, 17, 19)
"""First of torchvision's ``features`` in each stage: each but the last ends a resolution."""


class Network(nn.Module):
    """Network from images in [0, 1] ``[B, 3, H, W]`` to logits ``[B, K]``."""

    mean: Tensor
    std: Tensor

    def __init__(self, outputs: int) -> None:
        super().__init__()
        published = mobilenet_v2(weights=None, num_classes=outputs)
        # a slice of a Sequential keeps the numbers of its parts: stages.1.4 is features.4
        stages = (published.features[a:b] for a, b in itertools.pairwise(CUTS))
        self.stages = nn.Sequential(*stages)
        self.classifier = published.classifier
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.stages((x - self.mean) / self.std)
        logits: Tensor = self.classifier(maps.mean(dim=(2, 3)))
        return logits


class MobileNetV2:
    """MobileNetV2 at full width, trained by SGD as transfer learning fine-tunes it.

    Args:
        recipe: fields of the training recipe.
    """

    head = "classifier.1"
    stages = tuple(f"stages.{k}" for k in range(len(CUTS) - 1))

    def __init__(self, **recipe: bool | float | str) -> None:
        self.training = Recipe(head=self.head, **recipe)

    def build(self, spec: Spec) -> nn.Module:
        return Network(spec.outputs)

    def recipe(self, train: Data) -> Recipe:
        return self.training

    def import_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename torchvision's ``features.N`` to those of the stage that holds it."""
        return {rename(name): tensor for name, tensor in tensors.items()}


def rename(name: str) -> str:
    """Return the name of torchvision's tensor in ``Network``; an unknown one as it is.

    >>> rename("features.4.conv.0.0.weight"), rename("classifier.1.bias")
    ('stages.1.4.conv.0.0.weight', 'classifier.1.bias')
    """
    part, _, rest = name.removeprefix("features.").partition(".")
    if not name.startswith("features.") or not part.isdecimal() or int(part) >= CUTS[-1]:
        return name
    stage = sum(int(part) >= cut for cut in CUTS) - 1
    return f"stages.{stage}.{part}.{rest}"
