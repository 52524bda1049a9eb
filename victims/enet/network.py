"""ENet in both forms; its decoder unpools with the indices of the encoder's maxima."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime.unpooling import Places, pool, unpool

MIDDLES = (1, 2, 0, 4, 1, 8, 0, 16)
"""Dilation of each block's middle 3x3 convolution; 0 stands for a 5x1 and a 1x5 one."""

STAGES = {1: (1,) * 4, 2: MIDDLES, 3: MIDDLES, 4: (1,) * 2, 5: (1,)}
"""Dilations of the regular blocks of each stage, after its down- or upsampling block."""


@dataclass(frozen=True)
class Form:
    """Differences between the forms of the network.

    Attributes:
        pool: side of the downsampling blocks' pooling windows.
        grow: side of the upsampling blocks' transposed convolution.
        relu: whether the decoder has ReLU, else PReLU as the encoder.
        slopes: whether a PReLU after a block has a slope for each channel, else one for all.
        expanded: whether an upsampling block has an activation after its expansion, too.
    """

    pool: int
    grow: int
    relu: bool
    slopes: bool
    expanded: bool


FORMS = {
    "published": Form(pool=2, grow=2, relu=True, slopes=False, expanded=False),
    "older": Form(pool=3, grow=3, relu=False, slopes=True, expanded=True),
}


class Network(nn.Module):
    """Network from images in [0, 1] to logits ``[B, K, H, W]``; one output more with void."""

    memory_format = torch.contiguous_format  # channels-last is 1.2 × slower: dilation, unpooling

    def __init__(self, channels: int, classes: int, form: Form, *, void_output: bool) -> None:
        super().__init__()
        self.initial = Initial(channels, form)
        self.down1 = Down(16, 64, form, drop=0.01)
        self.stage1 = stage(1, 64, form, drop=0.01)
        self.down2 = Down(64, 128, form)
        self.stage2 = stage(2, 128, form)
        self.stage3 = stage(3, 128, form)
        self.up4 = Up(128, 64, form)
        self.stage4 = stage(4, 64, form, relu=form.relu)
        self.up5 = Up(64, 16, form)
        self.stage5 = stage(5, 16, form, relu=form.relu)
        self.head = nn.ConvTranspose2d(
            16, classes + void_output, 3, stride=2, padding=1, bias=False
        )
        # read by the loss; in the head, so that a student with other classes gets new ones
        self.head.register_buffer("class_weights", torch.ones(classes))

    def forward(self, x: Tensor) -> Tensor:
        quarter, first = self.down1(self.initial(x))
        eighth, second = self.down2(self.stage1(quarter))
        deep = self.stage3(self.stage2(eighth))
        grown = self.stage4(self.up4(deep, second))
        grown = self.stage5(self.up5(grown, first))
        logits: Tensor = self.head(grown, output_size=x.shape[2:])
        return logits


class Initial(nn.Module):
    """Initial block: convolution beside pooling, 16 channels at half the side."""

    def __init__(self, channels: int, form: Form) -> None:
        super().__init__()
        self.conv = conv(channels, 16 - channels, 3, 3, stride=2)
        self.norm, self.act = nn.BatchNorm2d(16), last(16, form)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.conv(x), F.max_pool2d(x, 3, stride=2, padding=1)], dim=1)
        out: Tensor = self.act(self.norm(both))
        return out


class Block(nn.Module):
    """Bottleneck: a branch through few channels (reduce, middle, expand) added to a shortcut."""

    reduce: nn.Sequential
    middle: nn.Sequential
    expand: nn.Sequential

    def __init__(self, outputs: int, form: Form, drop: float, *, relu: bool = False) -> None:
        super().__init__()
        self.drop, self.act = nn.Dropout2d(drop), last(outputs, form, relu=relu)

    def join(self, past: Tensor, middle: Tensor) -> Tensor:
        out: Tensor = self.act(past + self.drop(self.expand(middle)))
        return out


class Regular(Block):
    """Bottleneck that keeps side and channels."""

    def __init__(
        self, channels: int, form: Form, drop: float, *, dilation: int = 1, relu: bool = False
    ) -> None:
        super().__init__(channels, form, drop, relu=relu)
        r = channels // 4
        self.reduce = layers(conv(channels, r, 1, 1), relu=relu)
        if dilation:
            self.middle = layers(conv(r, r, 3, 3, dilation=dilation), relu=relu)
        else:
            self.middle = layers(conv(r, r, 5, 1), conv(r, r, 1, 5), relu=relu)
        self.expand = layers(conv(r, channels, 1, 1), relu=relu)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(x, self.middle(self.reduce(x)))


class Down(Block):
    """Bottleneck with half the side and more channels; returns the indices of its maxima, too."""

    def __init__(self, inputs: int, outputs: int, form: Form, drop: float = 0.1) -> None:
        super().__init__(outputs, form, drop)
        r, self.side, self.more = inputs // 4, form.pool, outputs - inputs
        self.reduce = layers(conv(inputs, r, 2, 2, stride=2))
        self.middle = layers(conv(r, r, 3, 3))
        self.expand = layers(conv(r, outputs, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Places]:
        maxima, places = pool(x, self.side)
        past = F.pad(maxima, (0, 0, 0, 0, 0, self.more))
        return self.join(past, self.middle(self.reduce(x))), places


class Up(Block):
    """Bottleneck with twice the side and fewer channels; its shortcut unpools with indices."""

    def __init__(self, inputs: int, outputs: int, form: Form) -> None:
        super().__init__(outputs, form, 0.1, relu=form.relu)
        r, relu = inputs // 4, form.relu
        grow = nn.ConvTranspose2d(r, r, form.grow, stride=2, padding=form.grow - 2, bias=False)
        self.main = layers(conv(inputs, outputs, 1, 1))[:2]
        self.reduce = layers(conv(inputs, r, 1, 1), relu=relu)
        self.middle = layers(grow, relu=relu)
        self.expand = layers(conv(r, outputs, 1, 1), relu=relu)[: 3 if form.expanded else 2]

    def forward(self, x: Tensor, places: Places) -> Tensor:
        grow, norm, act = self.middle
        middle = act(norm(grow(self.reduce(x), output_size=places.size)))
        return self.join(unpool(self.main(x), places), middle)


def stage(
    number: int, channels: int, form: Form, *, drop: float = 0.1, relu: bool = False
) -> nn.Sequential:
    """Build the regular blocks of a stage."""
    return nn.Sequential(
        *(Regular(channels, form, drop, dilation=d, relu=relu) for d in STAGES[number])
    )


def conv(
    inputs: int, outputs: int, height: int, width: int, *, stride: int = 1, dilation: int = 1
) -> nn.Conv2d:
    """Build a convolution with padding and without bias, as batch norm follows."""
    padding = (dilation * (height - 1) // 2, dilation * (width - 1) // 2)
    return nn.Conv2d(inputs, outputs, (height, width), stride, padding, dilation, bias=False)


def layers(*convs: nn.Conv2d | nn.ConvTranspose2d, relu: bool = False) -> nn.Sequential:
    """Join convolutions, each with its batch norm and activation."""
    parts: list[nn.Module] = []
    for one in convs:
        parts += [one, nn.BatchNorm2d(one.out_channels), nn.ReLU() if relu else nn.PReLU()]
    return nn.Sequential(*parts)


def last(channels: int, form: Form, *, relu: bool = False) -> nn.Module:
    """Build the activation after a block."""
    return nn.ReLU() if relu else nn.PReLU(channels if form.slopes else 1)
