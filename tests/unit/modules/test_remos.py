"""ReMoS: coverage, ranks and what is erased, against arithmetic by hand."""

import sys

import pytest
import torch
from torch import nn

from harness.runtime.contracts import NotApplicable
from harness.runtime.pruning import find_units
from tests.support.modules import module
from tests.support.students import SPEC, Student, data, defend, kernels

REMOS = module("defense", "remos")
CODE = sys.modules[type(REMOS).__module__]


class Grouped(nn.Module):
    """A plain, a grouped and a depthwise convolution, then a head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 1, groups=2),
            nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3, groups=6), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(216, SPEC.outputs)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


def by_hand(network, images):
    """Coverage of every slice, image by image, ``[O, I / groups]`` for each convolution."""
    found = []
    for i, layer in enumerate(network.body):
        if not isinstance(layer, nn.Conv2d):
            continue
        cover = torch.zeros(layer.weight.shape[:2], dtype=torch.int64)
        for image in images:
            before = network.body[:i](image[None])
            seen = []
            for maps in (before, layer(before)):
                scaled = (maps - maps.min()) / (maps.max() - maps.min())
                seen.append((scaled.mean(dim=(2, 3))[0] > 0.5).long())
            per_group, inputs = layer.out_channels // layer.groups, cover.shape[1]
            for o in range(cover.shape[0]):
                for j in range(inputs):
                    cover[o, j] += seen[0][o // per_group * inputs + j] + seen[1][o]
        found.append(cover)
    return found


def test_coverage_of_grouped_and_depthwise_convolutions():
    network, images = Grouped().eval(), data(12)
    units = find_units(network, "head")
    with torch.no_grad():
        expected = by_hand(network, images.x)
    found = CODE.profile(network, units, images, 5)
    slices = [
        CODE.slice_coverage(unit.conv, *counts)
        for unit, counts in zip(units.values(), found, strict=True)
    ]
    assert all(torch.equal(one, other) for one, other in zip(slices, expected, strict=True))
    assert len({int(v) for one in slices for v in one.flatten()}) > 3


def test_maps_of_one_value_cover_nothing():
    assert CODE.covered(torch.full((2, 3, 4, 4), 0.7)).tolist() == [0, 0, 0]


def test_the_first_convolution_reads_the_image_and_the_mean_is_scaled():
    maps = torch.tensor([[0.0, 4.0], [3.0, 3.0], [1.0, 2.0]]).view(1, 3, 1, 2)
    assert CODE.covered(maps).tolist() == [0, 1, 0]


def test_ranks_of_two_layers():
    """Six slices of one weight each, by hand; the sum of both ranks is known."""
    first, second = nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 2, 1, bias=False)
    network = nn.Sequential(first, second)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([6.0, -1.0]).view(2, 1, 1, 1))
        second.weight.copy_(torch.tensor([[2.0, -5.0], [4.0, 3.0]]).view(2, 2, 1, 1))
    units = list(find_units(network, "head").values())
    covered = [
        (torch.tensor([9]), torch.tensor([0, 3])),
        (torch.tensor([1, 4]), torch.tensor([1, 5])),
    ]
    scores = [s.flatten().tolist() for s in CODE.rank_difference(units, covered)]
    # coverage 9, 12 and 2, 5, 6, 9 -> ranks 3, 5 and 0, 1, 2, 4; sizes -> 5, 0 and 1, 4, 3, 2
    assert scores == [[-2, 5], [-1, -3, -1, 2]]


def test_a_slice_s_rank_counts_the_weights_before_it():
    found = CODE.ranks(torch.tensor([7, 2, 7, 1]), torch.tensor([9, 4, 1, 25]))
    assert found.tolist() == [29, 25, 38, 0]


def test_scores_sum_to_what_ranks_sum_to():
    """All slices of ``small-cnn`` have nine weights: 9 · 9 · S (S − 1) / 2 − N (N − 1) / 2."""
    network = Student().build().eval()
    units = find_units(network, "head")
    scores = CODE.rank_difference(list(units.values()), CODE.profile(network, units, data(), 16))
    total, slices = 1476, 164
    expected = 81 * slices * (slices - 1) // 2 - total * (total - 1) // 2
    assert sum(int(score.sum()) for score in scores) == expected


def test_erased_weights_are_those_of_least_rank_and_train_again(tmp_path):
    network, student, lines = defend(module("defense", "remos", share=0.1), tmp_path)
    recipe, before = student.fits[0]
    gone = kernels(before) == 0
    fresh = Student().build().eval()
    units = find_units(fresh, "head")
    scores = torch.cat(
        [
            score.flatten()
            for score in CODE.rank_difference(
                list(units.values()), CODE.profile(fresh, units, data(), 32)
            )
        ]
    )
    limit = scores.sort().values[147]
    assert torch.equal(gone, scores <= limit)
    assert lines[0] == f"{int(gone.sum())} of 1476 weights of convolutions erased"
    assert int((kernels(network) == 0).sum()) < int(gone.sum()) / 2
    assert recipe.label_smoothing == 0.1
    assert torch.equal(kernels(before)[~gone], kernels(fresh)[~gone])


def test_a_network_without_a_convolution_is_not_applicable(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(NotApplicable, match="no convolution"):
        defend(module("defense", "remos"), tmp_path, network=network)


def test_dropout_and_smoothing_act_in_training_and_are_gone_afterwards(tmp_path):
    plain = defend(module("defense", "remos", dropout=0.0), tmp_path / "a")[0]
    dropped = defend(module("defense", "remos"), tmp_path / "b")[0]
    sharp = defend(module("defense", "remos", dropout=0.0, label_smoothing=0.0), tmp_path / "c")[0]
    assert not torch.equal(kernels(plain), kernels(dropped))
    assert not torch.equal(kernels(plain), kernels(sharp))
    assert not any(m._forward_hooks for m in dropped.modules())
