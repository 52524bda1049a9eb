"""Reader of ONNX files: tensors and nodes of the graph, from the protobuf fields that hold them.

The graph is not run: a victim's ``build`` says in PyTorch what the network computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT = 1, 5, 11
INPUT_SHAPE, DIMENSION = (2, 1, 2), 1
NODE_INPUT, NODE_OUTPUT, NODE_TYPE, NODE_ATTRIBUTE = 1, 2, 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_TENSOR, ATTRIBUTE_INTS = 1, 2, 3, 5, 8
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW, TENSOR_EXTERNAL = 1, 2, 8, 9, 13
"""Numbers of fields in onnx.proto3."""

TYPES = {1: "<f4", 2: "u1", 3: "i1", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}
"""Number of a tensor's type → type of the values in ``raw_data``."""

PACKED: dict[int, Callable[[bytes], Array]] = {
    4: lambda data: np.frombuffer(data, "<f4"),
    5: lambda data: np.array([_signed(one) for one in varints(data)], np.int32),
    7: lambda data: np.array([_signed(one) for one in varints(data)], np.int64),
    10: lambda data: np.frombuffer(data, "<f8"),
}
"""Field of values in a list (``float_data``, ``int32_data``, …) → their reader."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Types of a field on the wire."""


class Field(NamedTuple):
    """Field of a protobuf message.

    Attributes:
        number: its number in the message.
        value: an integer, or the bytes of all other types.
    """

    number: int
    value: Any


@dataclass(frozen=True)
class Node:
    """Operation of a graph.

    Attributes:
        op: its type, for example ``Conv``.
        inputs: names of its inputs; the network's input, other nodes' outputs, initializers.
        outputs: names of its outputs.
        attributes: name → number, list of integers or array.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


def read_initializers(content: bytes) -> dict[str, Array]:
    """Return the stored tensors of a model's graph by name.

    Raises:
        ValueError: the bytes are no ONNX model, or its tensors lie in another file.
    """
    tensors = [read_tensor(one.value) for one in _graph(content) if one.number == GRAPH_INITIALIZER]
    return dict(tensors)


def read_nodes(content: bytes) -> list[Node]:
    """Return the operations of a model's graph, in order.

    Raises:
        ValueError: the bytes are no ONNX model.
    """
    return [read_node(one.value) for one in _graph(content) if one.number == GRAPH_NODE]


def read_input_shape(content: bytes) -> tuple[int, ...]:
    """Return the shape of a model's first input, ``(N, C, H, W)``; 0 for a size that may vary.

    Raises:
        ValueError: the bytes are no ONNX model.
    """
    for one in _graph(content):
        if one.number == GRAPH_INPUT:
            at = one.value
            for number in INPUT_SHAPE:
                at = next((field.value for field in fields(at) if field.number == number), b"")
            sizes = [list(fields(field.value)) for field in fields(at)]
            return tuple(
                next((part.value for part in size if part.number == DIMENSION), 0) for size in sizes
            )
    return ()


def _graph(content: bytes) -> list[Field]:
    for field in fields(content):
        if field.number == MODEL_GRAPH and isinstance(field.value, bytes):
            return list(fields(field.value))
    raise ValueError("no graph: this is no ONNX model")


def read_node(content: bytes) -> Node:
    """Return one operation."""
    found: dict[int, list[Any]] = {}
    for number, value in fields(content):
        found.setdefault(number, []).append(value)
    text = {n: tuple(v.decode() for v in found.get(n, ())) for n in (NODE_INPUT, NODE_OUTPUT)}
    attributes = dict(map(_attribute, found.get(NODE_ATTRIBUTE, ())))
    op = found[NODE_TYPE][0].decode()
    return Node(op, text[NODE_INPUT], text[NODE_OUTPUT], attributes)


def _attribute(content: bytes) -> tuple[str, Any]:
    name, many = "", list[int]()
    value: Any = None
    for number, one in fields(content):
        match number:
            case _ if number == ATTRIBUTE_NAME:
                name = one.decode()
            case _ if number == ATTRIBUTE_FLOAT:
                value = float(np.frombuffer(one, "<f4")[0])
            case _ if number == ATTRIBUTE_INT:
                value = _signed(one)
            case _ if number == ATTRIBUTE_TENSOR:
                value = read_tensor(one)[1]
            case _ if number == ATTRIBUTE_INTS:
                many += [_signed(one)] if isinstance(one, int) else map(_signed, varints(one))
    return name, many or value


def read_tensor(content: bytes) -> tuple[str, Array]:
    """Return a tensor's name and values.

    Raises:
        ValueError: its type is not a number's, its values lie elsewhere, or some are missing.
    """
    shape: list[int] = []
    found: dict[int, Any] = {TENSOR_TYPE: 1, TENSOR_NAME: b"", TENSOR_RAW: b""}
    for number, value in fields(content):
        if number == TENSOR_DIMS:
            shape += [value] if isinstance(value, int) else varints(value)
        else:
            found[number] = value
    name, kind = found[TENSOR_NAME].decode(), found[TENSOR_TYPE]
    if TENSOR_EXTERNAL in found:
        raise ValueError(f"tensor {name} lies in another file: save the model in one")
    if kind not in TYPES:
        raise ValueError(f"tensor {name} has values of type {kind}, which is no plain number")
    listed = [read(found[number]) for number, read in PACKED.items() if number in found]
    values = listed[0] if listed else np.frombuffer(found[TENSOR_RAW], TYPES[kind])
    return name, values.astype(TYPES[kind]).reshape(shape)


def fields(content: bytes) -> Iterator[Field]:
    """Yield the fields of a protobuf message.

    >>> list(fields(bytes([8, 150, 1, 18, 2, 104, 105])))
    [Field(number=1, value=150), Field(number=2, value=b'hi')]

    Raises:
        ValueError: the bytes are no message.
    """
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = _varint(content, at)
            yield Field(number, value)
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind)
        if kind == BYTES:
            size, at = _varint(content, at)
        if size is None or number == 0 or at + size > len(content):
            raise ValueError("no protobuf message: this is no ONNX model, or it is cut short")
        yield Field(number, content[at : at + size])
        at += size


def varints(content: bytes) -> list[int]:
    """Return packed variable-length integers."""
    found, at = [], 0
    while at < len(content):
        value, at = _varint(content, at)
        found.append(value)
    return found


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Return the integer at a place, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            break
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("no protobuf message: this is no ONNX model, or it is cut short")


def _signed(value: int) -> int:
    """Return a 64-bit integer in two's complement as a signed one."""
    return value - (1 << 64) if value >= 1 << 63 else value
