"""Recipes: rates and penalties by part, label smoothing, averaging of weights."""

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.runtime import checkpoint
from harness.runtime.model import capture, spatial_dropout
from harness.runtime.recipe import Average, Recipe, every_epochs
from harness.runtime.tasks import loss_for
from harness.runtime.training import fit, loss_of, make_optimizer
from tests.unit.runtime.test_training import SPEC, Killed, context, data, equal, network

AVERAGE = Average(start=2, every=3)
"""Snapshots after steps 5, 8 and 11 of 12."""


def averaged(folder, *, stop=None, average=AVERAGE):
    """Train; ``stop`` kills it in that step. Returns the network and the states of all steps."""
    net, states, count = network(), [], itertools.count()

    def noted(network, x, y):
        if next(count) == stop:
            raise Killed
        states.append({name: value.detach().clone() for name, value in network.named_parameters()})
        return loss_for(SPEC)(network, x, y)

    fit(net, data(), noted, context(folder), Recipe(12, 8, 0.05, average=average))
    return net, states


def test_the_network_ends_with_the_mean_of_its_snapshots(tmp_path):
    net, states = averaged(tmp_path)
    expected = {
        name: torch.stack([states[step][name] for step in (5, 8, 11)]).mean(dim=0)
        for name in states[0]
    }
    found = dict(net.named_parameters())
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)


@pytest.mark.parametrize("stop", [1, 5, 6, 9, 11])
def test_a_killed_average_resumes_to_the_same_bits(tmp_path, monkeypatch, stop):
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0.0)
    whole, _ = averaged(tmp_path / "whole")
    with pytest.raises(Killed):
        averaged(tmp_path / "killed", stop=stop)
    resumed, states = averaged(tmp_path / "killed")
    assert len(states) == 12 - stop
    assert equal(whole.state_dict(), resumed.state_dict())


def test_batch_norm_is_estimated_anew_from_one_epoch(tmp_path):
    net, _ = averaged(tmp_path)
    norm = net[1]
    assert norm.num_batches_tracked == 7  # 50 examples in batches of 8
    assert norm.momentum == 0.1
    with capture(net.eval(), ("0",), inputs=False) as seen, torch.no_grad():
        for x, _ in data().batches(50):
            net(x)
    assert torch.allclose(norm.running_mean, seen[0].mean(dim=(0, 2, 3)), atol=0.05)


def test_an_average_without_a_snapshot_is_refused():
    with pytest.raises(ValueError, match=r"4 steps end before the first snapshot .* at step 5"):
        Recipe(4, 8, 0.1, average=AVERAGE)


def test_the_head_learns_faster_and_linear_layers_decay_more():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 4), nn.Linear(4, 3))
    recipe = Recipe(1, 8, 0.1, weight_decay=0.01, linear_decay=0.1, head="3", head_lr=10)
    groups = make_optimizer(net, recipe).param_groups
    assert [(g["factor"], g["weight_decay"], len(g["params"])) for g in groups] == [
        (1.0, 0.01, 2), (1.0, pytest.approx(0.11), 2), (10, pytest.approx(0.11), 2)
    ]  # fmt: skip


def test_a_step_follows_the_rates_and_penalties_of_its_parts(tmp_path):
    """One step of SGD on a loss without a gradient moves a weight by rate · penalty · weight."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Linear(4, 3))
    before = [layer.weight.detach().clone() for layer in net[1:]]
    recipe = Recipe(1, 8, 0.1, momentum=0, linear_decay=0.5, head="2", head_lr=10)
    fit(net, data(), lambda net, x, y: 0 * net(x).sum(dim=1), context(tmp_path), recipe)
    for layer, weight, rate in zip(net[1:], before, (0.1, 1.0), strict=True):
        assert torch.allclose(layer.weight, weight * (1 - 0.5 * rate))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "steep"}, "schedule 'steep': expected one of constant, cosine, linear"),
        ({"head_lr": 10}, "head_lr needs the path of the head"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Recipe(1, 8, 0.1, **changes)


def test_a_head_that_the_network_lacks_is_named():
    with pytest.raises(ValueError, match="the network has no layer 'fc', the recipe's head"):
        make_optimizer(network(), Recipe(1, 8, 0.1, head="fc", head_lr=10))


def test_smoothed_labels_are_those_of_torch():
    class Plain:
        pass

    x, y = data().take(torch.arange(10))
    net = network().eval()
    found = loss_of(Plain(), SPEC, 0.1)(net, x, y)
    assert torch.equal(found, F.cross_entropy(net(x), y, reduction="none", label_smoothing=0.1))


def test_labels_that_cannot_be_smoothed_are_named():
    class Own:
        def loss(self, network, x, y):
            return network(x).sum(dim=1)

    with pytest.raises(ValueError, match="the victim has one of its own"):
        loss_of(Own(), SPEC, 0.1)
    with pytest.raises(ValueError, match="not ranking"):
        loss_for(replace(SPEC, task="ranking", arity=2), 0.1)


def test_maps_are_read_before_dropout_whichever_comes_first():
    net, x = network().train(), data().x[:4]
    with spatial_dropout(net, ("2",), 0.5), capture(net, ("2", "3"), inputs=False) as maps:
        net[3].p = 0
        net(x)
    kept, dropped = maps
    zero = (dropped == 0).all(dim=(2, 3)) & (kept != 0).any(dim=3).any(dim=2)
    assert 0 < zero.sum() < zero.numel()
    alive = ~(dropped == 0).all(dim=(2, 3))
    assert torch.equal(dropped[alive], 2 * kept[alive])
    assert not net[2]._forward_hooks


def test_dropout_of_maps_ends_with_its_block_and_in_evaluation():
    net, x = network().eval(), data().x[:4]
    before, keys = net(x), list(net.state_dict())
    with spatial_dropout(net, ("2",), 0.5):
        assert torch.equal(net(x), before)
        assert list(net.state_dict()) == keys


def test_milestones_lie_within_the_training():
    assert every_epochs(5, 4, 61) == (20, 40, 60)
    assert Recipe(61, 8, 1.0, milestones=(20, 40, 60)).rate(45) == pytest.approx(0.01)
