"""ENet: a segmentation network that shrinks early, and grows by the places of its own maxima."""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.runtime import dense
from harness.runtime.class_weights import class_weights
from harness.runtime.contracts import Context, Data, Loss, NotApplicable, Spec
from harness.runtime.miou import pooled_miou
from harness.runtime.training import fit, steps_per_epoch
from harness.runtime.unpooling import Places, pool, unpool

MIDDLES = (1, 2, 0, 4, 1, 8, 0, 16)
"""Dilation of the 3x3 convolution amid each block; 0: a 5x1 and a 1x5 one."""

STAGES = {1: (1,) * 4, 2: MIDDLES, 3: MIDDLES, 4: (1,) * 2, 5: (1,)}
"""The blocks of each stage, after the one that shrinks or grows."""


@dataclass(frozen=True)
class Form:
    """What the forms differ in.

    Attributes:
        pool: side of the shrinking blocks' windows. grow: of the growing blocks' convolution.
        relu: ReLU in the decoder, else PReLU as in the encoder.
        slopes: a PReLU after a block has a slope a channel, else one for all.
        expanded: a growing block has an activation after its expansion, too.
        multiple: what height and width must be divisible by.
    """

    pool: int
    grow: int
    relu: bool
    slopes: bool
    expanded: bool
    multiple: int


FORMS = {
    "published": Form(pool=2, grow=2, relu=True, slopes=False, expanded=False, multiple=1),
    "older": Form(pool=3, grow=3, relu=False, slopes=True, expanded=True, multiple=8),
}


class Network(nn.Module):
    """Logits ``[B, K, H, W]`` of images in [0, 1], as they are; with void, one output more."""

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
        # the loss's; in the head, so that a student with other classes gets both afresh
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
    """Convolution beside pooling, at half the side: 16 channels."""

    def __init__(self, channels: int, form: Form) -> None:
        super().__init__()
        self.conv = conv(channels, 16 - channels, 3, 3, stride=2)
        self.norm, self.act = nn.BatchNorm2d(16), last(16, form)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.conv(x), F.max_pool2d(x, 3, stride=2, padding=1)], dim=1)
        out: Tensor = self.act(self.norm(both))
        return out


class Block(nn.Module):
    """An extension through few channels (reduce, middle, expand), added to a way past it."""

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
    """Side and channels stay."""

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
    """Half the side, more channels; tells the places of its maxima."""

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
    """Twice the side, fewer channels; the way past puts values where the maxima were."""

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
    """The regular blocks of a stage."""
    return nn.Sequential(
        *(Regular(channels, form, drop, dilation=d, relu=relu) for d in STAGES[number])
    )


def conv(
    inputs: int, outputs: int, height: int, width: int, *, stride: int = 1, dilation: int = 1
) -> nn.Conv2d:
    """A convolution that keeps an odd side's map, without bias: batch norm follows."""
    padding = (dilation * (height - 1) // 2, dilation * (width - 1) // 2)
    return nn.Conv2d(inputs, outputs, (height, width), stride, padding, dilation, bias=False)


def layers(*convs: nn.Conv2d | nn.ConvTranspose2d, relu: bool = False) -> nn.Sequential:
    """Each convolution with its batch norm and activation."""
    parts: list[nn.Module] = []
    for one in convs:
        parts += [one, nn.BatchNorm2d(one.out_channels), nn.ReLU() if relu else nn.PReLU()]
    return nn.Sequential(*parts)


def last(channels: int, form: Form, *, relu: bool = False) -> nn.Module:
    """The activation after a block."""
    return nn.ReLU() if relu else nn.PReLU(channels if form.slopes else 1)


BLOCKS = {
    **{"initial": "initial_block", "head": "transposed_conv"},
    **{"down1": "downsample1_0", "down2": "downsample2_0"},
    **{"up4": "upsample4_0", "up5": "upsample5_0"},
    **{
        f"stage{n}.{k}": f"{ {0: 'asymmetric', 1: 'regular'}.get(d, 'dilated') }{n}_{k + (n != 3)}"
        for n, blocks in STAGES.items()
        for k, d in enumerate(blocks)
    },
}
"""Our blocks → those of the released weights."""

PARTS = {
    **{"conv": "main_branch", "norm": "batch_norm", "act": "out_prelu", "main": "main_conv1"},
    **{"reduce": "ext_conv1", "middle": "ext_conv2", "expand": "ext_conv3"},
}
"""Our parts of a block → theirs."""


NO_CHECKPOINT = (
    *(AssertionError, AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError),
    *(pickle.UnpicklingError, struct.error),
)
"""What ``torch.load`` raises on other bytes, as found with torn and random ones."""


def released_name(name: str) -> str:
    """A tensor's name in the released weights."""
    block = next(block for block in BLOCKS if name.startswith(f"{block}."))
    part, dot, rest = name.removeprefix(f"{block}.").partition(".")
    return f"{BLOCKS[block]}.{PARTS.get(part, part)}{dot}{rest}"


def weights_in(network: nn.Module) -> Tensor:
    """The class weights ``[K]`` of a network, also behind a guard that holds it."""
    for name, buffer in network.named_buffers():
        if name.rpartition(".")[2] == "class_weights":
            return buffer
    raise ValueError("the network has no buffer class_weights, which ENet's loss reads")


class ENet:
    """Paszke et al. 2016, trained as davidtvs's PyTorch-ENet: Adam, a rate that falls in steps.

    The state with the best mean IoU on validation is kept.

    Args:
        form: a row of ``FORMS``. void_output: one output more, which no label teaches.
        class_weights: of the loss, a row of ``class_weights.KINDS``.
        epochs, batch, lr, weight_decay: of the training. decay_every: epochs after which the rate
            falls to a tenth. validate_every: epochs between two validations.
    """

    head = "head"
    stages = ("initial", "stage1", "stage2", "stage3")

    def __init__(
        self,
        *,
        form: str,
        void_output: bool,
        class_weights: str,
        epochs: int,
        batch: int,
        lr: float,
        weight_decay: float,
        decay_every: int,
        validate_every: int,
    ) -> None:
        self.form, self.void_output, self.class_weights = form, void_output, class_weights
        self.epochs, self.batch, self.lr, self.weight_decay = epochs, batch, lr, weight_decay
        self.decay_every, self.validate_every = decay_every, validate_every

    def build(self, spec: Spec) -> nn.Module:
        channels, height, width = spec.shape
        multiple = FORMS[self.form].multiple
        if channels > 15 or min(height, width) < 7:
            raise NotApplicable("ENet takes pictures of at least 7x7 pixels and up to 15 channels")
        if height % multiple or width % multiple:
            raise NotApplicable(
                f"form: {self.form} needs a height and width divisible by {multiple}, found "
                f"{height}x{width}; form: published takes any"
            )
        return Network(channels, spec.outputs, FORMS[self.form], void_output=self.void_output)

    def loss(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        pixels = dense.values(dense.cross_entropy, network(x), y)
        return dense.mean(pixels, y, weights_in(network))

    def fit(
        self,
        network: nn.Module,
        train: Data,
        val: Data,
        loss: Loss,
        ctx: Context,
        steps: int | None = None,
    ) -> None:
        weights = class_weights(self.class_weights, train.y, train.spec.outputs)
        weights_in(network).copy_(weights)
        ctx.log(f"class weights: {[round(w, 4) for w in weights.tolist()]}")
        epoch = steps_per_epoch(len(train), self.batch)
        # clean IoU chooses nothing for a defence that trains on something else
        chooses = len(val) > 0 and loss == self.loss
        fit(
            network,
            train,
            loss,
            ctx,
            steps=self.epochs * epoch if steps is None else steps,
            batch=self.batch,
            lr=self.lr,
            optimizer="adam",
            weight_decay=self.weight_decay,
            decay_every=self.decay_every * epoch,
            val=val,
            log_every=self.validate_every * epoch,
            score=(lambda net: pooled_miou(net, val, self.batch)) if chooses else None,
            score_every=self.validate_every * epoch,
            score_name="val_miou",
        )

    def import_weights(self, path: Path) -> dict[str, Tensor]:
        """``save/ENet_default`` of davidtvs's PyTorch-ENet, trained on CamVid in 2018."""
        if not (self.form == "older" and self.void_output):
            raise ValueError("the released weights need form: older and void_output: true")
        try:
            # a foreign checkpoint, which is a pickle: weights_only runs none of its code
            file = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
        except NO_CHECKPOINT as error:
            raise ValueError(f"{path.name} is no checkpoint of tensors alone") from error
        state = Network(3, 11, FORMS[self.form], void_output=self.void_output).state_dict()
        names = {name: released_name(name) for name in state
                 if not name.endswith(("num_batches_tracked", "class_weights"))}  # fmt: skip
        found = file if isinstance(file, dict) else {}
        wrong = sorted(set(names.values()) ^ {str(name) for name in found}) or [
            theirs
            for ours, theirs in names.items()
            if getattr(found[theirs], "shape", None) != state[ours].shape
        ]
        if wrong:
            raise ValueError(
                f"{path.name} is not the released ENet: {len(wrong)} tensors are missing, unknown "
                f"or misshapen, among them {', '.join(wrong[:3])}"
            )
        # what old PyTorch did not count, and weights of the loss: as in a new network
        return state | {ours: found[theirs].float() for ours, theirs in names.items()}
