"""Running mean of a network's weights during a training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Mean:
    """Mean of snapshots of a network's parameters.

    Attributes:
        count: number of snapshots.
        values: mean of each parameter, by name; empty before the first snapshot.
    """

    def __init__(self) -> None:
        self.count = 0
        self.values: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, network: nn.Module) -> None:
        """Add the parameters as they are now."""
        self.count += 1
        for name, value in network.named_parameters():
            if name in self.values:
                self.values[name] += (value - self.values[name]) / self.count
            else:
                self.values[name] = value.detach().clone()

    @torch.no_grad()
    def restore(self, network: nn.Module) -> None:
        """Copy the mean into the network."""
        for name, value in network.named_parameters():
            value.copy_(self.values[name])


@torch.no_grad()
def estimate_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Estimate batch-norm statistics anew, as a plain mean over the batches of one pass.

    Args:
        network: network in train mode; one without batch norm makes no pass.
        batches: inputs of the training set.
    """
    norms = [
        norm
        for norm in network.modules()
        if isinstance(norm, _BatchNorm) and norm.track_running_stats
    ]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    for x in batches:
        network(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
