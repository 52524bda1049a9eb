"""Sketch of a network from the nodes of an ONNX graph, where each takes the output of the last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.conformance.network_sketch import FLATTEN, Layer, Sketch, Source, Tensors
from harness.runtime.onnx_file import Node, read_input_shape, read_nodes

SHAPES = ("Shape", "Constant", "Gather", "Unsqueeze", "Concat", "Slice", "Cast")
"""Nodes that compute the shape of a ``Reshape``."""

SAME = ("Identity", "Dropout")
"""Nodes that change nothing in eval mode."""


def _numbers(values: Sequence[int]) -> str:
    """Return a size for PyTorch: one number where all are equal."""
    return str(values[0]) if len(set(values)) == 1 else str(tuple(values))


def _padding(node: Node) -> str:
    """Return the padding of a node.

    Raises:
        ValueError: it differs between the two ends of a side.
    """
    pads = node.attributes.get("pads") or [0, 0, 0, 0]
    half = len(pads) // 2
    if pads[:half] != pads[half:] or node.attributes.get("auto_pad"):
        raise ValueError(f"{node.op} with uneven padding")
    return _numbers(pads[:half])


def _conv(node: Node, tensors: Tensors) -> Layer:
    outputs, inputs, *kernel = tensors[node.inputs[1]].shape
    groups = node.attributes.get("group") or 1
    more = {
        "stride": _numbers(node.attributes.get("strides") or [1]),
        "padding": _padding(node),
        "dilation": _numbers(node.attributes.get("dilations") or [1]),
        "groups": str(groups),
    }
    usual = {"stride": "1", "padding": "0", "dilation": "1", "groups": "1"}
    named = "".join(f", {name}={text}" for name, text in more.items() if text != usual[name])
    bias = "" if len(node.inputs) > 2 else ", bias=False"
    code = f"nn.Conv2d({inputs * groups}, {outputs}, {_numbers(kernel)}{named}{bias})"
    return Layer(code, _parameters(node, ("weight", "bias")))


def _linear(node: Node, tensors: Tensors) -> Layer:
    if any(node.attributes.get(name, 1.0) != 1.0 for name in ("alpha", "beta")):
        raise ValueError("Gemm with a factor")
    shape, transposed = list(tensors[node.inputs[1]].shape), not node.attributes.get("transB")
    outputs, inputs = reversed(shape) if transposed else shape
    found = _parameters(node, ("weight", "bias"))
    found["weight"] = Source(found["weight"].name, transposed)
    bias = "" if "bias" in found else ", bias=False"
    return Layer(f"nn.Linear({inputs}, {outputs}{bias})", found)


def _norm(node: Node, tensors: Tensors) -> Layer:
    eps = node.attributes.get("epsilon")
    more = "" if eps is None else f", eps={eps:g}"
    parts = ("weight", "bias", "running_mean", "running_var")
    code = f"nn.BatchNorm2d({tensors[node.inputs[1]].shape[0]}{more})"
    return Layer(code, _parameters(node, parts))


def _pool(kind: str) -> Callable[[Node, Tensors], Layer]:
    def make(node: Node, tensors: Tensors) -> Layer:
        kernel = _numbers(node.attributes["kernel_shape"])
        stride = _numbers(node.attributes.get("strides") or [1])
        more = "" if (padding := _padding(node)) == "0" else f", padding={padding}"
        more += ", ceil_mode=True" if node.attributes.get("ceil_mode") else ""
        if kind == "Avg" and padding != "0" and not node.attributes.get("count_include_pad"):
            more += ", count_include_pad=False"
        return Layer(f"nn.{kind}Pool2d({kernel}, stride={stride}{more})")

    return make


def _parameters(node: Node, parts: Sequence[str]) -> dict[str, Source]:
    return {part: Source(name) for part, name in zip(parts, node.inputs[1:], strict=False) if name}


def _plain(code: str) -> Callable[[Node, Tensors], Layer]:
    return lambda node, tensors: Layer(code)


LAYERS: Mapping[str, Callable[[Node, Tensors], Layer]] = {
    "Conv": _conv,
    "Gemm": _linear,
    "BatchNormalization": _norm,
    "MaxPool": _pool("Max"),
    "AveragePool": _pool("Avg"),
    "GlobalAveragePool": _plain("nn.AdaptiveAvgPool2d(1)"),
    "Flatten": lambda node, tensors: FLATTEN,
    "Reshape": lambda node, tensors: FLATTEN,
    "Relu": _plain("nn.ReLU()"),
    "LeakyRelu": lambda node, tensors: Layer(
        f"nn.LeakyReLU({node.attributes.get('alpha', 0.01):g})"
    ),
    "Sigmoid": _plain("nn.Sigmoid()"),
    "Tanh": _plain("nn.Tanh()"),
}
"""Operation of ONNX → function of its node and the file's tensors that returns its layer."""


def sketch_onnx(path: Path, tensors: Tensors) -> Sketch | str:
    """Return the layers of an ONNX file, or why they are no plain sequence, in a few words.

    Args:
        path: the file.
        tensors: its tensors.
    """
    layers: list[Layer] = []
    at, content = "", path.read_bytes()
    for node in read_nodes(content):
        if node.op in SHAPES:
            continue
        if at and node.inputs[:1] != (at,):
            return f"its {node.op} does not take what comes before it: the graph has branches"
        at = node.outputs[0]
        if node.op in SAME:
            continue
        try:
            layers.append(LAYERS[node.op](node, tensors))
        except KeyError:
            return f"it has {node.op}, which is none of {', '.join(LAYERS)}"
        except ValueError as error:
            return f"it has {error}"
    weights = [tensors[layer.tensors["weight"].name].shape for layer in layers if layer.tensors]
    if not weights:
        return "no layer has weights"
    first = next(layer for layer in layers if layer.tensors)
    channels, height, width = (0, 0, *read_input_shape(content))[-3:]
    side = height if height == width and height else None
    if first.code.startswith("nn.Conv2d"):
        channels = int(weights[0][1])
    return Sketch(tuple(layers), channels or 1, side, _outputs(layers, tensors))


def _outputs(layers: Sequence[Layer], tensors: Tensors) -> int:
    """Return the number of outputs of the last layer with weights."""
    last = [layer for layer in layers if layer.tensors][-1]
    source: Any = last.tensors["weight"]
    return int(tensors[source.name].shape[1 if source.transposed else 0])
