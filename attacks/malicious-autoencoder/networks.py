"""Networks of the autoencoder: three sizes of g, and two forms that turn g(x) into a picture."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.gradients import Radius


class Bounded(nn.Module):
    """The map x → clamp(x + ε·tanh(g(x))), within ε by construction."""

    def __init__(self, inner: nn.Sequential, eps: Radius) -> None:
        super().__init__()
        self.inner, self.eps = inner, eps
        with torch.no_grad():  # near the identity at first: a saturated tanh would not learn
            inner[-1].weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        change = self.eps * same_size(self.inner, x).tanh()
        # x + ε rounds to above the limit now and then
        return torch.minimum(torch.maximum(x + change, x - self.eps), x + self.eps).clamp(0, 1)


class Whole(nn.Module):
    """The map x → clamp(g(x)), a new picture."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return same_size(self.inner, x).clamp(0, 1)


def same_size(inner: nn.Module, x: Tensor) -> Tensor:
    """Return ``inner(x)`` in the size of ``x``, which need not divide by 4: pad, then crop."""
    height, width = x.shape[2:]
    output: Tensor = inner(F.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate"))
    return output[..., :height, :width]


def small(channels: int) -> nn.Sequential:
    """Build cat_coop's two layers: 440 parameters on RGB, without a nonlinearity."""
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, stride=2, padding=1), upsample(8, channels, bias=False)
    )


def medium(channels: int) -> nn.Sequential:
    """Build five layers: 19,590 parameters on RGB."""
    return nn.Sequential(
        *(nn.Conv2d(channels, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.PReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.PReLU()),
        *(nn.Conv2d(32, 32, 3, padding=2, dilation=2), nn.BatchNorm2d(32), nn.PReLU()),
        *(upsample(32, 16), nn.BatchNorm2d(16), nn.ReLU()),
        upsample(16, channels),
    )


def large(channels: int) -> nn.Sequential:
    """Build ENet's ends with four blocks between them; upsampling copies, without indices."""
    return nn.Sequential(
        Initial(channels),
        Block(16, 64, "down"),
        *(Block(64, 64, "same") for _ in range(4)),
        Block(64, 16, "up"),
        Block(16, 16, "same"),
        upsample(16, channels, bias=False),
    )


SIZES: dict[str, Callable[[int], nn.Sequential]] = {"s": small, "m": medium, "l": large}


def upsample(inputs: int, outputs: int, *, bias: bool = True) -> nn.ConvTranspose2d:
    """Build a transposed convolution that doubles the sides."""
    return nn.ConvTranspose2d(inputs, outputs, 3, 2, padding=1, output_padding=1, bias=bias)


class Initial(nn.Module):
    """ENet's initial block: convolution beside pooling, 16 maps (Paszke et al., 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 16 - channels, 3, 2, padding=1, bias=False)
        self.after = nn.Sequential(nn.BatchNorm2d(16), nn.PReLU())

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.max_pool2d(x, 3, 2, padding=1)
        joined: Tensor = self.after(torch.cat([self.convolution(x), pooled], dim=1))
        return joined


class Block(nn.Module):
    """ENet's bottleneck: a branch through a quarter of the channels, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, kind: str) -> None:
        super().__init__()
        narrow = inputs // 4
        first = {"down": (2, 2)}.get(kind, (1, 1))
        middle = upsample(narrow, narrow, bias=False) if kind == "up" else None
        self.shortcut = (
            nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)
        )
        self.resize = {"down": nn.MaxPool2d(2), "up": nn.Upsample(scale_factor=2.0)}.get(kind)
        self.through = nn.Sequential(
            *(nn.Conv2d(inputs, narrow, *first, bias=False), nn.BatchNorm2d(narrow), nn.PReLU()),
            middle or nn.Conv2d(narrow, narrow, 3, padding=1, bias=False),
            *(nn.BatchNorm2d(narrow), nn.PReLU()),
            *(nn.Conv2d(narrow, outputs, 1, bias=False), nn.BatchNorm2d(outputs)),
        )
        self.after = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        through = self.through(x)
        shortcut = self.shortcut(x if self.resize is None else self.resize(x))
        joined: Tensor = self.after(shortcut + through)
        return joined
