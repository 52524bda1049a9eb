"""Pruning of convolutions: units, limits over all tensors, silenced channels."""

import pytest
import torch
from torch import nn

from harness.runtime.contracts import NotApplicable
from harness.runtime.pruning import Unit, activity, erase, find_units, mark_lowest
from tests.support.students import Student, data


class Residual(nn.Module):
    """A stem and a residual block, whose shortcut passes what the block's last layer does not."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, x):
        x = self.stem(x)
        x = (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()
        return self.head(x).mean(dim=(2, 3))


def test_a_unit_is_a_convolution_with_the_norm_behind_it_and_the_head_is_none():
    network = Residual()
    units = find_units(network, "head")
    assert [(path, unit.output) for path, unit in units.items()] == [
        ("stem", "stem"), ("conv1", "bn1"), ("conv2", "bn2"),
    ]  # fmt: skip
    assert units["conv2"].norm is network.bn2


def test_a_norm_of_other_channels_belongs_to_no_convolution():
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(8), nn.Linear(4, 2))
    assert find_units(network, "2")["0"] == Unit(network[0], None, "0")


@pytest.mark.parametrize("network", [nn.Linear(4, 2), nn.Conv2d(1, 2, 1)])
def test_a_network_without_a_convolution_before_its_head_is_not_applicable(network):
    with pytest.raises(NotApplicable, match="no convolution"):
        find_units(nn.Sequential(nn.Flatten(), network), "1")


@pytest.mark.parametrize(
    ("share", "spared", "marked"),
    [
        (0, 0, []), (0.05, 0, [1]), (0.1, 0, [1, 2]), (0.19, 0, [1, 2]), (0.2, 0, [1, 2, 3]),
        (0.99, 0, range(1, 11)), (0.2, 0.3, [5, 6]), (0, 0.5, []),
    ],
)  # fmt: skip
def test_marks_reach_to_the_limit_over_all_tensors(share, spared, marked):
    """Positions up to ⌊10 · share⌋, from 0 on, of ten distinct scores."""
    scores = [torch.tensor([[3.0, 8], [1, 10]]), torch.tensor([2.0, 9, 4, 7, 6, 5])]
    masks = mark_lowest(scores, share, spared)
    found = sorted(float(v) for s, m in zip(scores, masks, strict=True) for v in s[m])
    assert found == list(marked)


def test_ties_with_the_limit_are_all_marked():
    (mask,) = mark_lowest([torch.tensor([2.0, 1, 2, 2, 3])], 0.25)
    assert mask.tolist() == [True, True, True, True, False]


@pytest.mark.parametrize(("share", "spared"), [(1, 0), (0.5, 0.5), (-0.1, 0), (0.1, -0.1)])
def test_a_band_outside_the_shares_is_refused(share, spared):
    with pytest.raises(ValueError, match="inside"):
        mark_lowest([torch.rand(4)], share, spared)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_scores_that_are_not_finite_are_refused(value):
    with pytest.raises(ArithmeticError, match="not finite"):
        mark_lowest([torch.tensor([1.0, value])], 0.5)


def test_erasing_everything_is_refused_and_changes_nothing():
    network = Residual()
    units = find_units(network, "head")
    before = network.conv1.weight.clone()
    with pytest.raises(NotApplicable, match="erases them all"):
        erase(units, [torch.ones_like(u.conv.weight).bool() for u in units.values()], print)
    assert torch.equal(network.conv1.weight, before)


def test_a_silenced_channel_adds_nothing_to_a_residual_block_whatever_its_statistics():
    network = Residual().eval()
    with torch.no_grad():
        for norm in (network.bn1, network.bn2):
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                tensor.copy_(torch.rand(4) + 0.5)
    unit, channels = find_units(network, "head")["conv2"], torch.tensor([1, 3])
    unit.silence(channels)
    added = unit.norm(unit.conv(torch.rand(2, 4, 8, 8))).detach()
    assert float(added[:, channels].abs().max()) == 0
    assert float(added[:, [0, 2]].abs().min()) > 0


def test_activity_is_the_mean_after_relu_in_eval_mode_and_changes_nothing():
    network = Student().build()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = activity(network, find_units(network, "head").values(), data(10), 4)
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    assert network.training
    maps, network = (data(10).x - 0.5) / 0.25, network.eval()
    for stage, mean in zip(network.stages, found, strict=True):
        maps = stage(maps)
        assert torch.allclose(mean, maps.mean(dim=(0, 2, 3)).detach(), atol=1e-6)
