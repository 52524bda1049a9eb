"""Tensors by name from every form of file, and one line for every other file."""

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from harness.runtime.onnx_file import read_nodes
from harness.runtime.weight_files import read_tensors
from tests.support.onnx_files import model, node, tensor

ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float64)}
TENSORS = {name: torch.from_numpy(array) for name, array in ARRAYS.items()}


def npz(path, arrays):
    with path.open("wb") as file:
        np.savez(file, **arrays)


FORMS = {
    "net.safetensors": lambda path: save_file(TENSORS, path),
    "net.npz": lambda path: npz(path, ARRAYS),
    "net.onnx": lambda path: path.write_bytes(
        model(tensors=[tensor(name, array) for name, array in ARRAYS.items()])
    ),
    "net.pth": lambda path: torch.save(TENSORS, path),
    "legacy": lambda path: torch.save(TENSORS, path, _use_new_zipfile_serialization=False),
    "nested.th": lambda path: torch.save({"state_dict": [TENSORS], "epoch": 9, "best": 0.5}, path),
    "parallel.pt": lambda path: torch.save({f"module.{k}": v for k, v in TENSORS.items()}, path),
    "compiled.pt": lambda path: torch.save({f"_orig_mod.{k}": v for k, v in TENSORS.items()}, path),
    "parameters.pt": lambda path: torch.save(
        {k: nn.Parameter(v) for k, v in TENSORS.items()}, path
    ),
    "misnamed.txt": lambda path: save_file(TENSORS, path),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_tensors(tmp_path, name):
    FORMS[name](tmp_path / name)
    found = read_tensors([tmp_path / name])
    assert {n: (t.dtype, t.tolist()) for n, t in found.items()} == {
        n: (t.dtype, t.tolist()) for n, t in TENSORS.items()
    }
    assert not any(tensor.requires_grad for tensor in found.values())


def test_arrays_of_several_files_have_their_files_names(tmp_path):
    for name in ("W1", "B1"):
        np.save(tmp_path / f"{name}.npy", np.full(2, 3, dtype=">f4"))
    found = read_tensors(sorted(tmp_path.iterdir()))
    assert list(found) == ["B1", "W1"]
    assert found["W1"].dtype == torch.float32
    assert found["W1"].tolist() == [3, 3]


def test_several_state_dicts_keep_their_places(tmp_path):
    path = tmp_path / "file"
    torch.save({"ema": TENSORS, "net": {"b": TENSORS["b"]}, "step": 3}, path)
    assert set(read_tensors([path])) == {"ema.a.weight", "ema.b", "net.b"}


def test_a_name_in_two_files_is_refused(tmp_path):
    for name in ("1.safetensors", "2.safetensors"):
        save_file(TENSORS, tmp_path / name)
    with pytest.raises(ValueError, match=r"2\.safetensors has a\.weight, which another file has"):
        read_tensors(sorted(tmp_path.iterdir()))


class Evil:
    """Object whose unpickling makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("form", ["pickle", "torch", "npy", "npz"])
def test_reading_runs_no_code(tmp_path, form):
    path, evil = tmp_path / f"file.{form}", Evil(str(tmp_path / "ran"))
    objects = np.array([evil], dtype=object)
    match form:
        case "pickle":
            path.write_bytes(pickle.dumps(TENSORS | {"extra": evil}))
        case "torch":
            torch.save(TENSORS | {"extra": evil}, path)
        case "npy":
            np.save(path, objects, allow_pickle=True)
        case "npz":
            npz(path, {"a": objects})
    with pytest.raises(ValueError, match="cannot be read as weights"):
        read_tensors([path])
    assert not (tmp_path / "ran").exists()


OTHERS = [
    ("a", b"", "cannot be read"),
    ("a", b"some text", "no checkpoint of tensors"),
    ("a", b"PK\x03\x04 torn", "cannot be read"),
    ("a", b"\x80\x02}.", "has no tensors"),
    ("a", bytes(9), "no checkpoint"),
    ("a.npy", b"\x93NUMPY\x01\x00", "cannot be read"),
    ("a.safetensors", b"\x02\0\0\0\0\0\0\0{]", "cannot be read"),
    ("a.onnx", b"\x3a\x10short", "cut short"),
    ("a.onnx", b"", "no graph"),
    ("a.onnx", b"\xff" * 12, "no ONNX model"),
    ("a.h5", b"\x89HDF\r\n\x1a\n", "Keras"),
    ("a.pt", b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
    ("a.pt", b"<!DOCTYPE html>", "web page"),
    ("a.pt", b"\x1f\x8b\x08", "gzip"),
]


@pytest.mark.parametrize(("name", "content", "said"), OTHERS)
def test_other_files_are_one_line(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        read_tensors([tmp_path / name])
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)


def test_torchscript_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        for name in ("net/data.pkl", "net/constants.pkl", "net/code/a.py"):
            archive.writestr(name, b"")
    with pytest.raises(ValueError, match=r"TorchScript holds code: save the network's state_dict"):
        read_tensors([tmp_path / "net.pt"])


def test_every_cut_of_an_onnx_file_is_one_line(tmp_path):
    path = tmp_path / "net.onnx"
    whole = model(
        tensors=[tensor("w", np.ones((2, 2), np.float32))], nodes=[node("Relu", "x", "y")]
    )
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"net\.onnx"):
            read_tensors([path])


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4", "i8", "i1", "u1", "i2", "?"])
@pytest.mark.parametrize("raw", [True, False])
def test_an_onnx_tensor_of_every_type(tmp_path, dtype, raw):
    array = np.array([[-2, 0, 3]]).astype(dtype)
    raw = raw or dtype not in ("f4", "f8", "i4", "i8")
    (tmp_path / "a.onnx").write_bytes(model(tensors=[tensor("w", array, raw=raw)]))
    found = read_tensors([tmp_path / "a.onnx"])["w"].numpy()
    assert (found.dtype, found.tolist()) == (array.dtype, array.tolist())


def test_an_onnx_tensor_in_another_file_is_named(tmp_path):
    (tmp_path / "a.onnx").write_bytes(model(tensors=[tensor("w", np.ones(1), external=True)]))
    with pytest.raises(ValueError, match="tensor w lies in another file"):
        read_tensors([tmp_path / "a.onnx"])


def test_the_nodes_of_an_onnx_graph():
    found = read_nodes(model(nodes=[
        node("Conv", "x", "y", weights=("w", "b"), strides=[2, 2], group=1, alpha=0.5),
        node("Relu", "y", "z"),
    ]))  # fmt: skip
    assert [one.op for one in found] == ["Conv", "Relu"]
    assert found[0].inputs == ("x", "w", "b")
    assert found[0].attributes == {"strides": [2, 2], "group": 1, "alpha": 0.5}
