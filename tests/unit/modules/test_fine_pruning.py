"""Fine-pruning: the idlest channels go, as many as the accuracy allows, and stay gone."""

import pytest
import torch
from torch import nn

from harness.runtime.contracts import NotApplicable
from harness.runtime.tasks import loss_for
from tests.support.modules import module
from tests.support.students import Logged, Student, data
from tests.unit.runtime.test_pruning import Residual


def trained(folder):
    """A student that tells the pictures apart."""
    student, network = Student(weight_decay=0.0), Student().build()
    student.fit(network, data(), data(9), loss_for(data().spec), Logged(folder), student.recipe(0))
    return network.eval()


def repair(network, folder, **params):
    student, ctx = Student(), Logged(folder)
    module("defense", "fine-pruning", **params).repair(student, network, data(), ctx)
    return student, ctx.lines[0]


def test_pruned_channels_are_the_idlest_and_stay_silent(tmp_path):
    network = trained(tmp_path / "a")
    mean = network.stages((data().x - 0.5) / 0.25).detach().mean(dim=(0, 2, 3))
    student, line = repair(network, tmp_path / "b", share=0.5, drop=1.0, steps=15)
    assert line == "fine-pruning: 8 of 16 channels of stages.2.0 pruned"
    idle = mean.argsort(stable=True)[:8]
    conv, norm = network.stages[2][:2]
    silent = (conv.weight == 0).flatten(1).all(dim=1)
    assert sorted(silent.nonzero().flatten().tolist()) == sorted(idle.tolist())
    assert float(norm.weight.detach()[silent].abs().max()) == 0
    assert float(norm.bias.detach()[silent].abs().max()) == 0
    assert student.fits[0][0].steps == 15


def test_pruning_stops_before_the_accuracy_falls_too_far(tmp_path):
    network = trained(tmp_path / "a")
    (_, much), (_, little) = (
        repair(trained(tmp_path / name), tmp_path / name, share=1.0, drop=drop, steps=0)
        for name, drop in (("b", 1.0), ("c", 0.0))
    )
    counts = [int(line.split()[1]) for line in (much, little)]
    assert counts[0] == 16
    assert counts[1] < 16
    before, after = network, trained(tmp_path / "d")
    repair(after, tmp_path / "d", share=1.0, drop=0.0, steps=0)
    right = [
        float((net.eval()(data().x).argmax(dim=1) == data().y).float().mean())
        for net in (before, after)
    ]
    assert right[1] >= right[0]


def test_a_residual_network_is_pruned_at_its_last_convolution(tmp_path):
    network = Residual()
    _, line = repair(network, tmp_path, share=0.5, drop=1.0, steps=10)
    assert line == "fine-pruning: 2 of 4 channels of conv2 pruned"
    assert int((network.conv2.weight == 0).flatten(1).all(dim=1).sum()) == 2


@pytest.mark.parametrize("steps", [0, 5])
def test_a_share_of_nothing_prunes_nothing(steps, tmp_path):
    network = trained(tmp_path / "a")
    before = network.stages[2][0].weight.clone()
    _, line = repair(network, tmp_path / "b", share=0.0, drop=0.04, steps=steps)
    assert line == "fine-pruning: 0 of 16 channels of stages.2.0 pruned"
    assert torch.equal(network.stages[2][0].weight, before) == (steps == 0)


def test_a_network_without_a_convolution_is_not_applicable(tmp_path):
    with pytest.raises(NotApplicable, match="no convolution"):
        repair(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), tmp_path, share=0.5, drop=1, steps=0)
