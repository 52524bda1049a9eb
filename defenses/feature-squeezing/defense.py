"""Feature squeezing (Xu, Evans and Qi, NDSS 2018) as a guard: median filter or fewer bits."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.contracts import Context
from harness.runtime.gradients import straight_through

Squeeze = Callable[[Tensor], Tensor]
"""Map of images ``[B, C, H, W]`` to squeezed ones of the same shape."""


class FeatureSqueezing:
    """Guard that squeezes every input; the paper's detector is not included.

    Args:
        method: ``median`` or ``bits``.
        window: side of the median's window, in pixels.
        bits: bits of each value that are left.
    """

    def __init__(self, *, method: str, window: int, bits: int) -> None:
        self.squeeze = {"median": median(window), "bits": depth(bits)}[method]

    def guard(self, network: nn.Module, ctx: Context) -> nn.Module:
        return Squeezed(network, self.squeeze)


class Squeezed(nn.Module):
    """Network behind a squeezer."""

    def __init__(self, network: nn.Module, squeeze: Squeeze) -> None:
        super().__init__()
        self.network, self.squeeze = network, squeeze

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.network(self.squeeze(x))
        return outputs


def median(window: int) -> Squeeze:
    """Return a median filter on each channel; its gradient goes to the pixel of the median."""
    before = (window - 1) // 2
    pad = (before, window - 1 - before) * 2

    def squeeze(x: Tensor) -> Tensor:
        wide = F.pad(x, pad, mode="reflect").unfold(2, window, 1).unfold(3, window, 1)
        middle: Tensor = wide.flatten(4).median(dim=4).values
        return middle

    return squeeze


def depth(bits: int) -> Squeeze:
    """Return rounding to 2^bits levels; attacks get the identity's gradient (BPDA)."""
    steps = 2**bits - 1
    return lambda x: straight_through(lambda values: (values * steps).round() / steps, x)
