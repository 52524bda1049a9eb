"""DDN: its closed form on linear networks, the library's results, networks without a gradient."""

import pytest
import torch

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

ADV_LIB = 0.4449
"""Median distance of adv_lib 0.2.8 on ``digits`` in 200 steps."""


def test_it_keeps_the_rules(tmp_path):
    assert keeps_the_rules("ddn", "l2", tmp_path, steps=50) == 1


def test_the_distance_on_a_linear_network_is_the_closed_form(tmp_path):
    network, x, y = linear(2)
    found = attack("ddn", network, x, y, "l2", tmp_path, steps=300)
    wanted = closed_form(network, x, y, "l2")
    # the radius moves by a twentieth at each step, and lands within a few thousandths
    assert torch.allclose(lengths(found - x, "l2"), wanted, rtol=2e-3)
    assert (network(found).argmax(1) != y).all()


def test_a_goal_is_reached(tmp_path):
    network, x, y = linear()
    goal = (y + 2) % 5
    found = attack("ddn", network, x, y, "l2", tmp_path, goal, steps=100)
    assert (network(found).argmax(1) == goal).all()
    away = attack("ddn", network, x, y, "l2", tmp_path, steps=100)
    assert lengths(away - x, "l2").median() < lengths(found - x, "l2").median() / 1.5


def test_the_median_is_adv_libs(tmp_path):
    network, x, y = digits()
    found = attack("ddn", network, x, y, "l2", tmp_path, steps=200)
    assert median(network, x, y, found, "l2") == pytest.approx(ADV_LIB, rel=0.02)


def test_adv_lib_finds_what_is_written_here():
    network, x, y = digits()
    found = adv_lib("decoupled_direction_norm").ddn(network, x, y, steps=200, levels=None)
    assert median(network, x, y, found, "l2") == pytest.approx(ADV_LIB, rel=0.02)


def test_a_radius_starts_at_init_norm_and_changes_by_gamma(tmp_path):
    """Of two steps on a network that is never wrong, seen by what it is asked."""
    network, x, y = never_wrong()
    params = {"steps": 2, "init_norm": 0.2, "gamma": 0.1}
    seen = asked("ddn", network, x, y, "l2", tmp_path, **params)
    sizes = [float(lengths(one - x, "l2").max()) for one in seen[1:]]
    assert sizes == pytest.approx([0.22, 0.242], rel=1e-5)


def test_a_radius_beyond_the_box_costs_no_steps(tmp_path):
    network, x, y = linear(2)
    found = attack("ddn", network, x, y, "l2", tmp_path, steps=120, init_norm=1000.0)
    excess = lengths(found - x, "l2") / closed_form(network, x, y, "l2")
    assert excess.median() < 1.02


def test_confident_networks_are_left_in_a_random_direction(tmp_path):
    network, x, y = teacher(24, factor=1e6)  # the cross entropy has no gradient in float32
    found = attack("ddn", network, x, y, "l2", tmp_path, steps=100)
    assert (network(found).argmax(1) != y).float().mean() > 0.9
    rows = torch.tensor([7, 3, 20])
    part = attack("ddn", network, x, y, "l2", tmp_path, rows=rows, steps=100)
    assert torch.equal(part, found[rows])


def test_large_inputs_without_a_gradient_stay_finite(tmp_path):
    """The radius times the length of a zero, over the smallest number, was not."""
    network, x, y = flat()
    found = attack("ddn", network, x, y, "l2", tmp_path, steps=30, init_norm=50.0)
    assert torch.equal(found, x)
    ahead = part("attack", "ddn", "attack").direction
    assert ahead(torch.ones(2, 4), 0, None).tolist() == [[0.5] * 4] * 2


@pytest.mark.slow
def test_the_median_on_a_provable_network(tmp_path):
    """adv_lib and foolbox 3.3.4 find 2.4329."""
    network, x, y = kw_mnist(200)
    found = attack("ddn", network, x, y, "l2", tmp_path, steps=1000)
    assert median(network, x, y, found, "l2") == pytest.approx(2.433, abs=0.01)
