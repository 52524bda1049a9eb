"""Small ONNX files, written field by field: equal to what the package ``onnx`` writes."""

import struct

import numpy as np

KINDS = {"f4": 1, "u1": 2, "i1": 3, "i2": 5, "i4": 6, "i8": 7, "b1": 9, "f2": 10, "f8": 11}


def varint(value):
    value %= 1 << 64
    out = bytearray()
    while True:
        out.append(value & 127 | (128 if value > 127 else 0))
        value >>= 7
        if not value:
            return bytes(out)


def field(number, value):
    """One field: an integer, a float, or bytes."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name, array, *, raw=True, external=False):
    """A TensorProto."""
    kind = array.dtype.str[1:]
    out = b"".join(field(1, size) for size in array.shape) + field(2, KINDS[kind])
    out += field(8, name.encode())
    if external:
        return out + field(13, b"") + field(14, 1)
    if raw:
        return out + field(9, np.ascontiguousarray(array).tobytes())
    number = {"f4": 4, "i4": 5, "i8": 7, "f8": 10}[kind]
    if kind[0] == "i":
        return out + field(number, b"".join(varint(int(v)) for v in array.flat))
    return out + field(number, array.tobytes())


def node(op, before, after, weights=(), **attributes):
    """A NodeProto with one input, one output and some initializers."""
    out = b"".join(field(1, one.encode()) for one in (before, *weights))
    out += field(2, after.encode()) + field(4, op.encode())
    for name, value in attributes.items():
        body = field(1, name.encode())
        if isinstance(value, list):
            body += b"".join(field(8, one) for one in value)
        else:
            body += field(2 if isinstance(value, float) else 3, value)
        out += field(5, body)
    return out


def input_of(name, shape):
    """A ValueInfoProto; a size of 0 has a name, as it may vary."""
    sizes = [field(1, size) if size else field(2, b"N") for size in shape]
    value = field(1, 1) + field(2, b"".join(field(1, size) for size in sizes))
    return field(1, name.encode()) + field(2, field(1, value))


def model(tensors=(), nodes=(), inputs=()):
    """A ModelProto."""
    parts = ((1, nodes), (5, tensors), (11, inputs))
    graph = b"".join(field(number, one) for number, many in parts for one in many)
    return field(1, 8) + field(7, graph)
