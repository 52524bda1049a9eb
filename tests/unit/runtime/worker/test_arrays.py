"""Arrays that are saved as they come, and images that are stored larger than networks see them."""

import numpy as np
import pytest
import torch

from harness.runtime.contracts import Spec
from harness.runtime.worker.arrays import save_array, save_parts
from harness.runtime.worker.job import Job
from harness.runtime.worker.job_values import Options, spec_from_json


@pytest.mark.parametrize("lengths", [(6,), (2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.int64])
def test_parts_are_saved_as_the_whole_is(tmp_path, lengths, dtype):
    whole = torch.arange(6 * 5).reshape(6, 5).to(dtype)
    save_parts(tmp_path / "a" / "parts.npy", iter(torch.split(whole, 4)), *lengths)
    save_array(tmp_path / "whole.npy", whole.reshape(*lengths, 5))
    assert (tmp_path / "a" / "parts.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_parts_of_another_order_in_memory_are_saved_in_order(tmp_path):
    whole = torch.arange(24.0).reshape(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    save_parts(tmp_path / "x.npy", [whole.requires_grad_()], 2)
    assert np.array_equal(np.load(tmp_path / "x.npy"), whole.detach().numpy())


def test_nothing_has_no_shape(tmp_path):
    with pytest.raises(ValueError, match="nothing to save"):
        save_parts(tmp_path / "x.npy", [], 0)


@pytest.mark.parametrize("stored", [None, (1, 6, 7)])
def test_data_hold_the_middle_of_larger_images(tmp_path, stored):
    shape = (1, 4, 4)
    x = np.arange(3 * np.prod(stored or shape), dtype=np.uint8).reshape(3, *(stored or shape))
    for name, array in {"x": x, "y": np.zeros(3, np.int64), "ids": np.arange(3)}.items():
        save_array(tmp_path / "train" / f"{name}.npy", array)
    spec = Spec("classification", 2, shape, stored=stored)
    job = Job("train", spec, torch.device("cpu"), [], 1.0, {}, {"train": tmp_path / "train"},
              Options(1), tmp_path, tmp_path)  # fmt: skip
    data = job.data("train")
    assert data.raw.shape == (3, *shape)
    if stored is None:
        assert data.uncropped is None
        assert np.array_equal(data.raw.numpy(), x)
    else:
        assert np.array_equal(data.raw.numpy(), x[..., 1:5, 1:5])
        assert data.raw.untyped_storage().data_ptr() == data.uncropped.untyped_storage().data_ptr()
    assert data.take(torch.tensor([2]))[0].shape == (1, *shape)


def test_a_spec_says_how_images_are_stored():
    raw = {"task": "classification", "outputs": 2, "shape": [1, 4, 4], "items": None,
           "arity": None, "void": None, "classes": ["a", "b"]}  # fmt: skip
    assert spec_from_json(raw).stored is None
    assert spec_from_json(raw | {"stored": [1, 6, 7]}).stored == (1, 6, 7)
    assert spec_from_json(raw | {"shape": [], "items": 4}).shape == ()
