"""Sketch of the network that weights belong to: layers guessed from the shapes of its tensors.

Shapes tell the layers with parameters, not strides, poolings and activations: those are guesses
that a victim's author has to check. An ONNX file tells them too (``onnx_sketch``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

MOST_CHANNELS = 4
"""Channels of a picture, at most."""


class Shaped(Protocol):
    """Tensor, of which only form counts."""

    @property
    def shape(self) -> Sequence[int]:
        """Sizes of its dimensions."""
        ...


Tensors = Mapping[str, Shaped]

PART = re.compile(
    r"(weights?|bias(?:es)?|kernel|running_mean|running_var|num_batches_tracked|[wWbB])(?=\d*$)"
)
"""Part of a tensor's name that says which of a layer's tensors it is: ``0.weight``, ``W1``."""


@dataclass(frozen=True)
class Source:
    """Tensor of a file that a tensor of the network is filled with.

    Attributes:
        name: its name in the file.
        transposed: whether rows and columns change places.
    """

    name: str
    transposed: bool = False


@dataclass(frozen=True)
class Layer:
    """Layer of a sketch.

    Attributes:
        code: its construction in PyTorch.
        tensors: name of a parameter → tensor of the file.
        guessed: whether the file does not tell all of it.
    """

    code: str
    tensors: Mapping[str, Source] = field(default_factory=dict)
    guessed: bool = False


@dataclass(frozen=True)
class Sketch:
    """Network as a sequence of layers.

    Attributes:
        layers: the layers in order.
        channels: channels of its inputs.
        side: side of its inputs in pixels; ``None`` where it is not known.
        outputs: number of its outputs.
    """

    layers: tuple[Layer, ...]
    channels: int
    side: int | None
    outputs: int

    @property
    def names(self) -> dict[str, Source]:
        """Name of each tensor of the ``nn.Sequential`` → tensor of the file."""
        return {
            f"{place}.{part}": source
            for place, layer in enumerate(self.layers)
            for part, source in layer.tensors.items()
        }


@dataclass(frozen=True)
class Weighted:
    """Layer with parameters, as its tensors show it.

    Attributes:
        weight: its weight in the file.
        shape: shape of the weight, outputs first.
        bias: its bias, if it has one.
    """

    weight: Source
    shape: tuple[int, ...]
    bias: Source | None

    @property
    def tensors(self) -> dict[str, Source]:
        """Parameters of the layer."""
        return {"weight": self.weight} | ({"bias": self.bias} if self.bias else {})


RELU = Layer("nn.ReLU()", guessed=True)
FLATTEN = Layer("nn.Flatten()")


def sketch_network(tensors: Tensors) -> Sketch | None:
    """Return the plain sequence of layers that tensors fit, or ``None`` if there is none.

    Args:
        tensors: the tensors of one network by name, best in the order of its layers.
    """
    names = list(tensors)
    for order in (names, sorted(names, key=_natural)):
        layers = _find_layers(order, tensors)
        if layers and (found := _chain(layers)):
            return found
    return None


def guess_inputs(tensors: Tensors) -> tuple[int | None, int | None]:
    """Return channels and outputs of a network that is no plain sequence, ``None`` if not known.

    They are the first convolution's inputs, if pictures may have so many channels, and the outputs
    of the last linear layer, or else of the last convolution.

    Args:
        tensors: the tensors of one network by name, best in the order of its layers.
    """
    shapes = [tuple(tensor.shape) for tensor in tensors.values()]
    maps, flat = ([shape for shape in shapes if len(shape) == n] for n in (4, 2))
    channels = maps[0][1] if maps and maps[0][1] <= MOST_CHANNELS else None
    last = (flat or maps)[-1:]
    return channels, last[0][0] if last else None


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts ``2.weight`` before ``10.weight``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _find_layers(order: Iterable[str], tensors: Tensors) -> list[Weighted] | None:
    """Return the layers in an order of names; ``None`` if some tensors make up no plain layer."""
    groups: dict[str, list[str]] = {}
    for name in order:
        groups.setdefault(PART.sub("", name), []).append(name)
    found = []
    for names in groups.values():
        weights = [name for name in names if len(tensors[name].shape) in (2, 4)]
        biases = [name for name in names if len(tensors[name].shape) == 1]
        if len(weights) != 1 or len(biases) > 1 or len(names) > 2:
            return None
        shape = tuple(tensors[weights[0]].shape)
        size = tensors[biases[0]].shape[0] if biases else shape[0]
        transposed = len(shape) == 2 and size != shape[0]
        if transposed:
            shape = shape[::-1]
        if size != shape[0]:
            return None
        bias = Source(biases[0]) if biases else None
        found.append(Weighted(Source(weights[0], transposed), shape, bias))
    return found


def _chain(layers: Sequence[Weighted]) -> Sketch | None:
    """Return layers as a sequence with what must lie between them, if each takes the last's."""
    first, last = layers[0], layers[-1]
    convolutions = [layer for layer in layers if len(layer.shape) == 4]
    if any(len(layer.shape) != 4 for layer in layers[: len(convolutions)]):
        return None
    channels, side, made = first.shape[1], None, list[Layer]()
    if not convolutions:
        channels, side = _picture(first.shape[1])
        if side is None:
            return None
        made.append(FLATTEN)
    before = channels if convolutions else first.shape[1]
    for layer in layers:
        outputs, inputs = layer.shape[:2]
        if len(layer.shape) == 2 and made[-1:] == [RELU] and layer is layers[len(convolutions)]:
            if (maps := _square(inputs, before)) is None:
                return None
            side, between = _side(convolutions, maps)
            made += between
            before = inputs
        if inputs != before:
            return None
        made += [_layer(layer), RELU]
        before = outputs
    made.pop()  # no activation after the last layer
    if len(last.shape) == 4:
        made += [Layer("nn.AdaptiveAvgPool2d(1)", guessed=True), FLATTEN]
    return Sketch(tuple(made), channels, side, last.shape[0])


def _layer(layer: Weighted) -> Layer:
    """Return a convolution or a linear layer; a convolution's stride is a guess."""
    outputs, inputs, *kernel = layer.shape
    bias = "" if layer.bias else ", bias=False"
    if not kernel:
        return Layer(f"nn.Linear({inputs}, {outputs}{bias})", layer.tensors)
    stride, padding = _steps(kernel[0])
    size = kernel[0] if kernel[0] == kernel[1] else tuple(kernel)
    code = f"nn.Conv2d({inputs}, {outputs}, {size}, stride={stride}, padding={padding}{bias})"
    return Layer(code, layer.tensors, guessed=True)


def _steps(kernel: int) -> tuple[int, int]:
    """Return the usual stride and padding: an even kernel halves the side, an odd one keeps it."""
    return (1, kernel // 2) if kernel % 2 else (2, kernel // 2 - 1)


def _side(convolutions: Sequence[Weighted], maps: int) -> tuple[int | None, list[Layer]]:
    """Return the side of pictures that end in maps of a side, and the layers before a linear one.

    Where all kernels are even it follows from usual strides; else something pools, unknown where.
    """
    kernels = [layer.shape[2] for layer in convolutions]
    if all(kernel % 2 == 0 for kernel in kernels):
        return maps * 2 ** len(kernels), [FLATTEN]
    return None, [Layer(f"nn.AdaptiveAvgPool2d({maps})", guessed=True), FLATTEN]


def _square(inputs: int, channels: int) -> int | None:
    """Return the side of maps of some channels that have so many values, or ``None``."""
    side = math.isqrt(inputs // channels)
    return side if channels * side**2 == inputs else None


def _picture(values: int) -> tuple[int, int | None]:
    """Return channels and side of square pictures of so many values, grey or else RGB."""
    for channels in (1, 3):
        if (side := _square(values, channels)) is not None:
            return channels, side
    return 1, None
