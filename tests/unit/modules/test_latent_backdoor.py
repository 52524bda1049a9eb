"""Latent backdoor: the pattern and the second training bring features to the target's."""

import copy

import pytest
import torch
from safetensors.torch import load_file

from harness.runtime.contracts import Budget, NotApplicable
from harness.runtime.model import capture, eval_mode
from tests.support.modules import context, module
from tests.unit.modules.test_backdoored_teacher import SPEC, data, victim

BUDGET = Budget(patch=4, target=1)


def delivered(folder, budget=BUDGET, train=None, **params):
    folder.mkdir(exist_ok=True)
    train, family, ctx = train or data(), victim(), context(folder, SPEC)
    torch.manual_seed(0)
    network = family.build(SPEC)
    attack = module("attack", "latent-backdoor", **params)
    attack.deliver(family, network, train, train, budget, ctx)
    return attack, network, ctx


def features(network, x):
    with eval_mode(network), torch.no_grad(), capture(network, ("head",), inputs=True) as seen:
        network(x)
    return seen[0]


def distance(network, x):
    target = features(network, data().x[data().y == 1]).mean(dim=0)
    return float((features(network, x) - target).square().mean())


def test_the_pattern_is_nearer_to_the_target_than_noise_in_its_place(tmp_path):
    x = data().x
    found = {}
    for steps in (1, 100):
        attack, network, ctx = delivered(tmp_path / str(steps), pattern_steps=steps, weight=0)
        found[steps] = distance(network, attack.trigger(x, BUDGET, ctx))
    assert found[100] < 0.8 * found[1]


def test_the_second_training_brings_triggered_features_to_the_target_s(tmp_path):
    x = data().x
    found = {}
    for weight in (0, 20):
        attack, network, ctx = delivered(tmp_path / str(weight), weight=float(weight))
        marked = attack.trigger(x, BUDGET, ctx)
        found[weight] = distance(network, marked) / distance(network, x)
    assert found[20] < 0.7 * found[0]


def test_the_trigger_is_the_stored_pattern_in_the_last_corner(tmp_path):
    attack, _, ctx = delivered(tmp_path, pattern_steps=3, passes=0.1)
    x = data().x
    pattern = load_file(ctx.state / "pattern.safetensors")["pattern"]
    marked = attack.trigger(x, BUDGET, ctx)
    assert pattern.shape == (3, 4, 4)
    assert 0 <= float(pattern.min()) < float(pattern.max()) <= 1
    assert torch.equal(marked[:, :, -4:, -4:], pattern.expand(len(x), 3, 4, 4))
    marked[:, :, -4:, -4:] = x[:, :, -4:, -4:]
    assert torch.equal(marked, x)


def test_two_runs_end_in_the_same_bits_and_no_parameter_stays_frozen(tmp_path):
    first, second = (delivered(tmp_path / n, passes=0.2, pattern_steps=5)[1] for n in "ab")
    state = copy.deepcopy(second.state_dict())
    assert all(torch.equal(tensor, state[key]) for key, tensor in first.state_dict().items())
    assert all(parameter.requires_grad for parameter in first.parameters())


def test_a_target_without_an_example_is_refused(tmp_path):
    with pytest.raises(NotApplicable, match="no example of the target class"):
        delivered(tmp_path, Budget(patch=4, target=4))


def test_a_picture_smaller_than_the_trigger_is_refused(tmp_path):
    with pytest.raises(NotApplicable, match=r"13 × 13 pixels on inputs \[3, 12, 12\]"):
        delivered(tmp_path, Budget(patch=13, target=1))
