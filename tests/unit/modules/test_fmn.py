"""FMN: norms, its closed form on linear networks, the library's results, inputs hard to reach."""

import itertools

import numpy as np
import pytest
import torch

from harness.runtime.problem import Evaluation
from tests.support.modules import part
from tests.support.nearest_references import adv_lib, digits
from tests.support.nearest_searches import (
    asked,
    attack,
    closed_form,
    flat,
    keeps_the_rules,
    lengths,
    linear,
    median,
    never_wrong,
    teacher,
)
from tests.support.relu_nets import kw_mnist

ADV_LIB = {"l2": (171, 0.13823), "linf": (198, 0.045951)}
"""How many inputs of ``teacher`` adv_lib 0.2.8 makes wrong in 100 steps, their median distance."""
OURS = {"l2": 0.473, "linf": 0.0855}
"""Median distance on ``digits``: DDN's is 0.445; adv_lib's FMN finds 8 (L2) and 186 (L∞) of 200."""

norms = part("attack", "fmn", "norms")


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_it_keeps_the_rules(tmp_path, norm):
    assert keeps_the_rules("fmn", norm, tmp_path, steps=50) == 1


@pytest.mark.parametrize("paper", [False, True])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_distance_on_a_linear_network_is_the_closed_form(tmp_path, norm, paper):
    network, x, y = linear(2)
    found = attack("fmn", network, x, y, norm, tmp_path, steps=300, paper=paper)
    wanted, length = closed_form(network, x, y, norm), lengths(found - x, norm)
    assert torch.allclose(length[length > 0], wanted[length > 0], rtol=1e-4, atol=1e-6)
    # to the letter the search walks up to the boundary, and rounding decides
    assert paper or (network(found).argmax(1) != y).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_goal_is_reached(tmp_path, norm):
    network, x, y = linear()
    goal = (y + 2) % 5
    found = attack("fmn", network, x, y, norm, tmp_path, goal, steps=100)
    assert (network(found).argmax(1) == goal).all()
    assert (lengths(found - x, norm) >= closed_form(network, x, y, norm, goal) * 0.999).all()


def test_a_projection_is_the_nearest_change_of_the_length():
    random = torch.Generator().manual_seed(0)
    change, radius = torch.randn(50, 6, generator=random), 2 * torch.rand(50, generator=random)
    for norm in ("l2", "linf"):
        found = norms.project(change, radius, norm)
        size = norms.lengths(found, norm)
        assert (size <= radius * (1 + 1e-6)).all()
        inside = norms.lengths(change, norm) <= radius
        assert 0 < inside.sum() < 50
        assert torch.equal(found[inside], change[inside])
        for _ in range(200):
            other = norms.project(found + 0.1 * torch.randn(50, 6, generator=random), radius, norm)
            assert ((found - change).norm(dim=1) <= (other - change).norm(dim=1) + 1e-6).all()


def test_a_dual_length_is_the_most_that_a_change_of_length_1_gains():
    gradient = torch.tensor([[3.0, -4.0, 0.0]])
    best = {"l2": torch.tensor([0.6, -0.8, 0.0]), "linf": torch.tensor([1.0, -1.0, 1.0])}
    for norm, change in best.items():
        assert norms.lengths(change[None], norm) == 1
        assert norms.dual_lengths(gradient, norm).item() == pytest.approx(float(gradient @ change))


def count_and_median(network, x, y, found, norm):
    wrong = network(found).argmax(1) != y
    return int(wrong.sum()), np.median(lengths(found - x, norm)[wrong])


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_to_the_letter_it_finds_what_adv_lib_finds(tmp_path, norm):
    network, x, y = teacher()
    found = attack("fmn", network, x, y, norm, tmp_path, steps=100, paper=True)
    assert count_and_median(network, x, y, found, norm) == pytest.approx(ADV_LIB[norm], rel=0.005)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_adv_lib_finds_what_is_written_here(norm, monkeypatch):
    file, (network, x, y) = adv_lib("fast_minimum_norm"), teacher()
    # its own projection lengthens a change inside the ball, which the paper's does not
    monkeypatch.setattr(file, "l2_projection_", lambda δ, ε: δ.copy_(norms.project(δ, ε, "l2")))
    order, alpha = {"l2": (2, 1.0), "linf": (torch.inf, 10.0)}[norm]
    found = file.fmn(network, x, y, order, steps=100, α_init=alpha)
    assert count_and_median(network, x, y, found, norm) == pytest.approx(ADV_LIB[norm], rel=0.005)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_inputs_that_the_estimates_never_reach_are_found(tmp_path, norm):
    network, x, y = digits()
    found = attack("fmn", network, x, y, norm, tmp_path, steps=200)
    assert (network(found).argmax(1) != y).all()
    assert median(network, x, y, found, norm) == pytest.approx(OURS[norm], rel=0.02)


def test_steps_get_shorter_and_a_short_change_is_lengthened_unless_the_paper_counts(tmp_path):
    """Of two steps toward a boundary that is far away."""
    network, x, y = never_wrong()
    letter = asked("fmn", network, x, y, "l2", tmp_path, steps=2, alpha_l2=0.2, paper=True)
    sizes = [lengths(b - a, "l2").max().item() for a, b in itertools.pairwise(letter)]
    assert sizes == pytest.approx([0.2, 0.101], rel=1e-4)
    here = asked("fmn", network, x, y, "l2", tmp_path, steps=2, alpha_l2=0.2)
    assert lengths(here[1] - x, "l2").min() > 0.5


def test_a_margin_that_is_no_number_is_a_boundary_out_of_reach():
    x = torch.rand(2, 4, requires_grad=True)
    broken = Evaluation(x, x.detach(), x.sum(1) * torch.nan)
    distance, gradient = part("attack", "fmn", "attack").linearize(broken, "l2")
    assert distance.tolist() == [torch.inf] * 2
    assert not gradient.any()


def test_a_network_without_a_gradient_leaves_all_as_it_is(tmp_path):
    network, x, y = flat()
    for norm in ("l2", "linf"):
        assert torch.equal(attack("fmn", network, x, y, norm, tmp_path, steps=5), x)


@pytest.mark.slow
def test_the_median_on_a_provable_network(tmp_path):
    """adv_lib finds 2.318 and, with the paper's projection, 2.565."""
    network, x, y = kw_mnist(200)
    for paper, steps, wanted in ((False, 1000, 2.028), (True, 100, 2.565)):
        found = attack("fmn", network, x, y, "l2", tmp_path, steps=steps, paper=paper)
        assert median(network, x, y, found, "l2") == pytest.approx(wanted, abs=0.02)
