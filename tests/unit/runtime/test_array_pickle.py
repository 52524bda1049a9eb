"""Pickles of arrays: those that Python 2 and 3 write, and those that want more."""

import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest

from harness.runtime.array_pickle import read_arrays
from harness.runtime.weight_files import read_tensors

ARRAYS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "bias": np.array([200, -3, 7], dtype=np.float64),
    "turned": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    "half": np.ones((1, 2, 1), np.float16),
}


def text(value):
    """A string as Python 2 writes it."""
    return b"T" + struct.pack("<I", len(value)) + value


def python_2(arrays):
    """A dictionary of float32 arrays as Python 2 pickled it: the bytes are text."""
    parts = [b"\x80\x02}q\x00("]
    for name, array in arrays.items():
        sides = b"(" + b"".join(b"J" + struct.pack("<i", side) for side in array.shape) + b"t"
        kind = b"cnumpy\ndtype\n" + text(b"f4") + b"K\x00K\x01\x87R"
        kind += b"(K\x03" + text(b"<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        made += b"K\x00\x85" + text(b"b") + b"\x87R"
        state = b"(K\x01" + sides + kind + b"\x89" + text(array.astype("<f4").tobytes()) + b"tb"
        parts += [text(name.encode()), made, state]
    return b"".join([*parts, b"u."])


def test_python_2_bytes_as_text(tmp_path):
    path = tmp_path / "resnet.pkl"
    arrays = {"conv.weight": ARRAYS["conv.weight"] - 11.7, "bias": np.float32([1, 2])}
    path.write_bytes(python_2(arrays))
    assert pickle.loads(path.read_bytes(), encoding="latin1").keys() == arrays.keys()
    found = read_tensors([path])
    assert {n: (t.shape, t.tolist()) for n, t in found.items()} == {
        n: (a.shape, a.tolist()) for n, a in arrays.items()
    }


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_every_protocol_gives_the_same_tensors(tmp_path, protocol, kind):
    path = tmp_path / "file"
    number = np.float32(0.25)
    path.write_bytes(pickle.dumps(kind(ARRAYS | {"number": number}), protocol=protocol))
    found = read_tensors([path])
    assert found.pop("number").item() == 0.25
    assert {n: (t.numpy().dtype, t.shape, t.tolist()) for n, t in found.items()} == {
        n: (a.dtype, a.shape, a.tolist()) for n, a in ARRAYS.items()
    }


def test_the_older_byte_order_is_turned(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps({"a": np.array([1, 256], dtype=">i4")}))
    assert read_tensors([path])["a"].tolist() == [1, 256]


class Calls:
    """Object whose unpickling calls something."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


STATE = (1, (2,), np.dtype("f4"), False, b"short")
FIRST = {"a": ARRAYS["bias"]}
HOSTILE = {
    "runs code": (FIRST | {"b": Calls(os.mkdir, ("ran",))}, "asks for posix.mkdir"),
    "looks up": (FIRST | {"b": Calls(getattr, (FIRST, "clear"))}, "asks for .*getattr"),
    "a subclass": ({"a": np.ma.masked_array([1.0])}, r"asks for numpy\.ma"),
    "objects": ({"a": np.array([{}, 1], dtype=object)}, "an array of 'O8'; expected numbers"),
    "named fields": ({"a": np.zeros(2, [("x", "f4")])}, "an array of 'V4'"),
    "texts": ({"a": np.array(["a"])}, "an array of 'U1'"),
    "complex": ({"a": np.array([1j])}, "an array of 'c16'"),
    "too few bytes": ({"a": Calls(np.zeros(1).__reduce__()[0], (np.ndarray, (0,), b"b"), STATE)},
                      "buffer size must be"),
    "no array": ({"a": Calls(np.zeros(1).__reduce__()[0], (np.ndarray, (0,), b"b"))},
                 "'a' is no array"),
    "a list": (list(FIRST.values()), "a pickled list; expected names with arrays"),
    "nested": ({"net": FIRST}, "'net' is no array but a dict"),
    "a number": ({"a": 1}, "'a' is no array but a int"),
    "other text": (FIRST | {"b": Calls(np.ndarray, (b"a",))}, "'b' is no array"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("protocol", [2, 4])
def test_anything_else_is_one_line_and_runs_nothing(tmp_path, monkeypatch, case, protocol):
    value, said = HOSTILE[case]
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"cannot be read as weights .*{said}") as caught:
        read_tensors([path])
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == [path]


RAW = {
    "sets a class's attribute": b"\x80\x02cnumpy\ndtype\nN}U\x01xK\x01s\x86b.",
    "sets a type's attribute": b"\x80\x02ccollections\nOrderedDict\nN}U\x01xK\x01s\x86b.",
    "sets a function's attribute": b"\x80\x02c_codecs\nencode\nN}U\x01xK\x01s\x86b.",
    "a persistent object": b"\x80\x02U\x01aQ.",
    "more marks than bytes": b"\x80\x02Nr\xff\xff\xff\xff.",
    "an extension's code": b"\x80\x02\x82\x01.",
    "a name of two lines": b"\x80\x04\x8c\x04a\nb\n\x8c\x01c\x93.",
}


@pytest.mark.parametrize("case", RAW)
def test_opcodes_that_no_array_needs(tmp_path, case):
    path = tmp_path / "net.pkl"
    path.write_bytes(RAW[case])
    with pytest.raises(ValueError, match=r"net\.pkl cannot be read as weights \(.") as caught:
        read_tensors([path])
    assert "\n" not in str(caught.value)
    assert not hasattr(OrderedDict, "x")


def test_every_cut_is_one_line(tmp_path):
    path = tmp_path / "net.pkl"
    whole = python_2({"a": np.float32([1, 2]), "b": np.float32([[3]])})
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"^net\.pkl [^\n]+$"):
            read_tensors([path])


def test_arrays_share_the_file_and_cannot_be_written(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps(FIRST))
    assert not read_arrays(path)["a"].flags.writeable
