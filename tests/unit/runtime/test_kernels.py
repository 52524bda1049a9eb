"""Convolution weights: ranked over all layers, frozen to the bit or against the gradient alone."""

import copy

import pytest
import torch
from torch import nn

from harness.runtime.kernels import Frozen, kernels, lowest, share_of


def network():
    """Two convolutions, batch norm and a head that is a convolution, too."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3),
    )  # fmt: skip


def trained(net, frozen, restore, **options):
    """Fifty steps of SGD with momentum and decay."""
    optimizer = torch.optim.SGD(net.parameters(), 0.1, **options)
    generator = torch.Generator().manual_seed(1)
    with frozen.without_gradient():
        for _ in range(50):
            if restore:
                frozen.restore()
            x = torch.randn(8, 1, 5, 5, generator=generator)
            loss = nn.functional.cross_entropy(net(x), torch.arange(8) % 3)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if restore:
        frozen.restore()


def half_frozen(net):
    weights = kernels(net)
    total = sum(w.numel() for w in weights.values())
    masks = lowest([w.detach().abs() for w in weights.values()], total // 2)
    return weights, masks, Frozen(list(weights.values()), masks)


def test_kernels_are_the_convolutions_without_the_head():
    assert list(kernels(network())) == ["0.weight", "3.weight", "5.weight"]
    assert list(kernels(network(), "5")) == ["0.weight", "3.weight"]
    assert list(kernels(network(), "8")) == ["0.weight", "3.weight", "5.weight"]


def test_the_lowest_are_chosen_over_all_layers_together():
    scores = [torch.tensor([[0.1, 0.2], [0.9, 0.8]]), torch.tensor([0.15, 5.0, 6.0, 7.0])]
    masks = lowest(scores, 4)
    assert [mask.tolist() for mask in masks] == [
        [[True, True], [False, True]], [True, False, False, False],
    ]  # fmt: skip
    assert not any(mask.any() for mask in lowest(scores, 0))
    assert all(mask.all() for mask in lowest(scores, 8))


@pytest.mark.parametrize("count", range(9))
def test_the_count_is_exact_also_among_equal_scores(count):
    masks = lowest([torch.zeros(3), torch.zeros(2, 2), torch.ones(1)], count)
    assert sum(int(mask.sum()) for mask in masks) == count


@pytest.mark.parametrize("share", [0, 0.1, 0.29, 0.5, 0.7, 0.9, 1])
def test_a_share_is_rounded_down_from_its_decimal_value(share):
    for count in (1, 7, 10, 100, 11_166_912):
        assert share_of(count, share) == round(share * 100) * count // 100


@pytest.mark.parametrize("nesterov", [False, True])
def test_frozen_weights_stay_to_the_bit_under_momentum_and_decay(nesterov):
    net = network()
    start = copy.deepcopy(net)
    weights, masks, frozen = half_frozen(net)
    trained(net, frozen, True, momentum=0.9, weight_decay=0.01, nesterov=nesterov)
    for (name, weight), mask in zip(weights.items(), masks, strict=True):
        before = start.get_parameter(name)
        assert torch.equal(weight[mask], before[mask])
        assert bool((weight[~mask] != before[~mask]).all())
    others = {"1.weight", "1.bias", "0.bias", "8.weight"}
    assert all(not torch.equal(net.get_parameter(n), start.get_parameter(n)) for n in others)


def test_without_restoring_frozen_weights_decay_and_do_nothing_else():
    net = network()
    start = copy.deepcopy(net)
    weights, masks, frozen = half_frozen(net)
    trained(net, frozen, False, weight_decay=0.01)
    for (name, weight), mask in zip(weights.items(), masks, strict=True):
        before = start.get_parameter(name)[mask]
        assert torch.allclose(weight[mask], before * (1 - 0.1 * 0.01) ** 50, rtol=1e-4)
        assert not torch.equal(weight[mask], before)
    still = {name: p.clone() for name, p in net.named_parameters()}
    trained(net, Frozen([], []), False)
    assert any(
        not torch.equal(weight[mask], still[name][mask])
        for (name, weight), mask in zip(weights.items(), masks, strict=True)
    )  # the hooks are gone after the block
