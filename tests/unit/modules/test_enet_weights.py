"""The weights of ENet that exist: imported whole or not at all, and what they reach on CamVid."""

import numpy as np
import pytest
import torch

from harness.judge.maps import confusion
from harness.judge.segmentation import segmentation
from harness.runtime.contracts import Spec
from harness.runtime.weight_files import read_tensors
from tests.support.modules import module
from tests.support.sources import fetch, shared

SMALL = Spec("segmentation", 11, (3, 24, 40), void=255)


def victim(variant=None, **params):
    return module("victim", "enet", variant, **params)


def released():
    return shared("camvid/weights") / "ENet_default"


def stand_in(path, change=lambda tensors: tensors):
    """A file of the released form, with random values."""
    enet = victim("camvid-2018")
    network = enet.build(SMALL)
    name = torch_name(enet)
    tensors = {name(key): value for key, value in network.state_dict().items()
               if not key.endswith(("num_batches_tracked", "class_weights"))}  # fmt: skip
    torch.save(change(tensors), path)
    return path


def torch_name(enet):
    return type(enet).import_weights.__globals__["rename"].__globals__["released_name"]


def test_import_takes_every_tensor(tmp_path):
    path, enet = stand_in(tmp_path / "file"), victim("camvid-2018")
    state = enet.import_weights(read_tensors([path]))
    network = enet.build(SMALL)
    network.load_state_dict(state, strict=True)
    name, file = torch_name(enet), torch.load(path, weights_only=True)
    assert len(file) == 554
    for key, value in network.state_dict().items():
        if key == "head.class_weights":
            assert value.tolist() == [1.0] * 11
        elif key.endswith("num_batches_tracked"):
            assert value == 0
        else:
            assert torch.equal(value, file[name(key)])


def without(tensors):
    return {k: v for k, v in tensors.items() if k != "dilated2_2.ext_conv1.0.weight"}


def twice(tensors):
    return tensors | {"module.transposed_conv.weight": torch.zeros(1)}


def misshapen(tensors):
    return tensors | {"transposed_conv.weight": torch.zeros(16, 20, 3, 3)}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (without, r"1 tensors are missing.*dilated2_2\.ext_conv1\.0\.weight"),
        (twice, r"among them module\.transposed_conv\.weight"),
        (misshapen, r"1 tensors .* misshapen, among them transposed_conv\.weight"),
        (lambda tensors: tensors | {"transposed_conv.weight": 1.0}, "1 tensors are missing"),
        (lambda tensors: list(tensors.values()), "1108 tensors are missing"),
    ],
)
def test_import_refuses_other_tensors(tmp_path, change, match):
    with pytest.raises(ValueError, match=match):
        victim("camvid-2018").import_weights(read_tensors([stand_in(tmp_path / "file", change)]))


@pytest.mark.parametrize("params", [{}, {"form": "older"}, {"void_output": True}])
def test_import_needs_the_form_of_the_file(tmp_path, params):
    with pytest.raises(ValueError, match="need form: older and void_output: true"):
        victim(**params).import_weights(read_tensors([stand_in(tmp_path / "file")]))


@pytest.mark.slow
def test_the_released_weights_reach_on_camvid_what_they_did(tmp_path):
    """Measured with the source's own code: mIoU .5352, pixel accuracy .8575."""
    path, enet = released(), victim("camvid-2018")
    test = fetch("camvid", tmp_path, shared("camvid")).test
    x, y = torch.from_numpy(np.array(test.x)), test.y
    assert len(x) == 59
    network = enet.build(Spec("segmentation", 11, (3, 360, 480), void=255))
    network.load_state_dict(enet.import_weights(read_tensors([path])), strict=True)
    network.eval()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            maps = torch.cat([network(part.float() / 255).argmax(1).byte() for part in x.split(4)])
    finally:
        torch.set_num_threads(threads)
    found = segmentation(confusion(maps.numpy(), y, 11, 255), None, draws=2).metrics
    assert found["clean_miou"].value == pytest.approx(0.5352, abs=0.001)
    assert found["clean_pixel_accuracy"].value == pytest.approx(0.8575, abs=0.001)
