"""JPEG guard (Dziugaite, Ghahramani and Roy 2016): inputs are compressed and decompressed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg

from harness.runtime.contracts import Context, NotApplicable
from harness.runtime.gradients import straight_through


class Jpeg:
    """Guard with a JPEG codec; attacks get the identity's gradient (BPDA), as rounding has none.

    Args:
        quality: quality of the encoder, 1 to 100.
    """

    def __init__(self, *, quality: int) -> None:
        self.quality = quality

    def guard(self, network: nn.Module, ctx: Context) -> nn.Module:
        if ctx.spec.shape[0] not in (1, 3):
            raise NotApplicable("JPEG needs pictures of 1 or 3 channels")
        return Compressed(network, self.quality)


class Compressed(nn.Module):
    """Network behind a JPEG encoder and decoder."""

    def __init__(self, network: nn.Module, quality: int) -> None:
        super().__init__()
        self.network, self.quality = network, quality

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.network(straight_through(self.compress, x))
        return outputs

    def compress(self, x: Tensor) -> Tensor:
        """Encode and decode images; on the CPU, so that every device gets the same pixels."""
        pixels = (x.cpu() * 255).round().clamp(0, 255).to(torch.uint8)
        mode = ImageReadMode.GRAY if x.shape[1] == 1 else ImageReadMode.RGB
        files = [encode_jpeg(image, quality=self.quality) for image in pixels]
        return torch.stack([decode_jpeg(file, mode=mode) for file in files]).to(x) / 255
