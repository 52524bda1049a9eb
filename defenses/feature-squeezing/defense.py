"""Feature squeezing guards: a median filter, or fewer bits a value, before the network."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.contracts import Context, NotApplicable
from harness.runtime.gradients import straight_through

Squeeze = Callable[[Tensor], Tensor]


class FeatureSqueezing:
    """Xu et al. 2018, as a guard: their detector compares the answers with and without.

    Args:
        method: ``median`` or ``bits``. window: side of the median's window. bits: that are left.
    """

    def __init__(self, *, method: str, window: int, bits: int) -> None:
        self.squeeze = {"median": median(window), "bits": depth(bits)}[method]

    def guard(self, network: nn.Module, ctx: Context) -> nn.Module:
        if len(ctx.spec.shape) != 3:
            raise NotApplicable("squeezing needs pictures")
        return Squeezed(network, self.squeeze)


class Squeezed(nn.Module):
    """A network that sees squeezed inputs only."""

    def __init__(self, network: nn.Module, squeeze: Squeeze) -> None:
        super().__init__()
        self.network, self.squeeze = network, squeeze

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.network(self.squeeze(x))
        return outputs


def median(window: int) -> Squeeze:
    """The middle value of each channel's window; its gradient goes to the pixel that had it."""
    before = (window - 1) // 2
    pad = (before, window - 1 - before) * 2

    def squeeze(x: Tensor) -> Tensor:
        wide = F.pad(x, pad, mode="reflect").unfold(2, window, 1).unfold(3, window, 1)
        middle: Tensor = wide.flatten(4).median(dim=4).values
        return middle

    return squeeze


def depth(bits: int) -> Squeeze:
    """Rounding to 2^bits levels. It has no gradient; attacks get the identity's (BPDA)."""
    steps = 2**bits - 1
    return lambda x: straight_through(lambda values: (values * steps).round() / steps, x)
