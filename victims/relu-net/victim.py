"""Small ReLU networks of which verifiers have proven something."""

from __future__ import annotations

from torch import Tensor, nn

from harness.runtime.contracts import Data, Spec
from harness.runtime.recipe import Recipe

from .network import ARCHITECTURES, Network


class ReluNet:
    """Small network, trained by SGD with momentum and a cosine schedule where it has no weights.

    Args:
        network: a row of ``ARCHITECTURES``.
        statistics: mean and deviation of inputs, a row of ``STATISTICS``.
        training: fields of the training recipe.
    """

    def __init__(self, *, network: str, statistics: str, **training: float) -> None:
        self.architecture, self.statistics = ARCHITECTURES[network], statistics
        self.head, self.stages = self.architecture.head, self.architecture.stages
        self.training = training

    def build(self, spec: Spec) -> nn.Module:
        return Network(self.architecture.layers(spec), spec.shape[0], self.statistics)

    def recipe(self, train: Data) -> Recipe:
        return Recipe(head=self.head, schedule="cosine", **self.training)

    def import_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Name the arrays of the released MLP, whose matrices are ``[inputs, outputs]``."""
        return dict(rename(name, tensor) for name, tensor in tensors.items())


def rename(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    """Return the network's name and form of a released tensor; all but the MLP's stay.

    >>> name, tensor = rename("mip_rsl18a_W1", Tensor(784, 500))
    >>> name, list(tensor.shape)
    ('1.weight', [500, 784])
    """
    last = name.rpartition("_")[2]
    if last in ("W1", "W2"):
        return f"{2 * int(last[1]) - 1}.weight", tensor.T.contiguous()
    if last in ("B1", "B2"):
        return f"{2 * int(last[1]) - 1}.bias", tensor.flatten()
    return name, tensor
