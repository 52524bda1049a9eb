"""Stage ``maps``: hand-made networks, whose maps are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from harness.common.files import load_array
from harness.runtime.contracts import NotApplicable, Spec
from harness.runtime.worker.stages.maps import activation, grad_cam, maps

SPEC = Spec("classification", 2, (1, 4, 4))


class Net(nn.Module):
    """A stage of two channels, written over by what follows, and a head that reads their means.

    Channel 0 is the picture at half its size, channel 1 its negative: class 0 reads the first.
    """

    def __init__(self, *, calls_stage=True):
        super().__init__()
        self.stage = nn.Conv2d(1, 2, 2, stride=2, bias=False)
        self.dropout = nn.Dropout2d(0.5)
        self.head = nn.Linear(2, 2, bias=False)
        self.calls_stage = calls_stage
        with torch.no_grad():
            self.stage.weight.copy_(torch.tensor([1.0, -1.0])[:, None, None, None] / 4)
            self.stage.weight.data = self.stage.weight.data.expand(2, 1, 2, 2).clone()
            self.head.weight.copy_(torch.eye(2))

    def forward(self, x):
        if not self.calls_stage:
            return self.head(x.mean(dim=(2, 3)).expand(-1, 2))
        return self.head(self.stage(x).relu_().mean(dim=(2, 3)))


class Rounded(nn.Module):
    """A guard through which no gradient comes."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x.round())


class Silent(Rounded):
    def forward(self, x):
        with torch.no_grad():
            return self.network(x)


def run(tmp_path, *modes, network=Net, stages=("stage",), guard=lambda net: net):
    """Maps that the stage saves, for two pictures with one bright quarter each."""
    x = np.zeros((2, 1, 4, 4), np.float32)
    x[0, 0, :2, 2:] = 1
    x[1, 0, 2:, :2] = 0.8
    job = SimpleNamespace(
        spec=SPEC,
        device=torch.device("cpu"),
        ctx=SimpleNamespace(seed=lambda *name: 0),
        options=SimpleNamespace(batch=1, modes=modes),
        out=tmp_path,
        victim=SimpleNamespace(stages=stages),
        answering_role="victim",
        called=None,
        hook_seconds=0.0,
        has=lambda role, hook: False,
        guard=guard,
        trained=network,
        tensor=lambda name, file: torch.from_numpy(x),
    )
    maps(job)
    return {mode: np.array(load_array(tmp_path / "maps" / f"{mode}.npy")) for mode in modes}


def test_activation_is_the_mean_magnitude_before_anything_writes_into_it(tmp_path):
    found = run(tmp_path, "activation")["activation"]
    assert found.dtype == np.float32
    # both channels count, also the negative one, which relu_ sets to 0 later
    assert found.tolist() == pytest.approx(
        np.array([[[0, 1], [0, 0]], [[0, 0], [0.8, 0]]]), abs=1e-6
    )


def test_grad_cam_is_of_the_predicted_class_and_never_negative(tmp_path):
    found = run(tmp_path, "activation", "grad-cam")["grad-cam"]
    # class 0 is predicted, which reads channel 0 only: the slope is 1/4 where relu_ is open
    assert found[0, 0, 1] == pytest.approx(1 / 16)
    assert found[1, 1, 0] == pytest.approx(0.8 / 16)
    assert (found >= 0).all()
    assert np.count_nonzero(found) == 2


def test_a_guard_without_gradients_to_its_input_does_not_matter(tmp_path):
    found = run(tmp_path, "grad-cam", guard=Rounded)["grad-cam"]
    assert found[0, 0, 1] > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": ()}, "names no stages"),
        ({"stages": ("other",)}, "has no stage other"),
        ({"stages": ("head",)}, "which is no map"),
        ({"network": lambda: Net(calls_stage=False)}, "without its last stage"),
    ],
)
def test_what_has_no_maps_declines(tmp_path, changes, said):
    with pytest.raises(NotApplicable, match=said):
        run(tmp_path, "activation", **changes)


def test_grad_cam_declines_where_no_gradient_reaches_the_stage(tmp_path):
    with pytest.raises(NotApplicable, match="no gradient"):
        run(tmp_path, "grad-cam", guard=Silent)


def test_modes_on_one_tensor():
    stage = torch.tensor([[[[1.0, -2.0]], [[-3.0, 4.0]]]], requires_grad=True)
    outputs = torch.stack((stage[:, 0].sum(), -stage[:, 1].sum()))[None]
    assert activation(stage, outputs).tolist() == [[[2.0, 3.0]]]
    # outputs are -1 and -1: the first wins, and its slope is 1 on channel 0
    assert grad_cam(stage, outputs).tolist() == [[[1.0, 0.0]]]
