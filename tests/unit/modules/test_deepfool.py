"""DeepFool: its closed form on linear networks, what it returns, and other libraries' results."""

import numpy as np
import pytest
import torch
import torchattacks
from scipy.optimize import linprog

from harness.runtime.model import freeze
from tests.support.nearest_inputs import (
    NanGradient,
    closed_form,
    distances,
    lengths,
    linear,
    points,
    search,
    trained,
    wrong_by_a_hair,
)
from tests.support.nearest_references import foolbox
from tests.support.relu_nets import kw_mnist

NORMS = ("l2", "linf")


def deepfool(norm, network, x, y, goal=None, **params):
    return search("deepfool", norm, network, x, y, goal, **params)


@pytest.mark.parametrize("factor", [1.0, 2.0**60, 2.0**-60])
@pytest.mark.parametrize("norm", NORMS)
def test_the_distance_on_a_linear_network_is_the_closed_form(norm, factor):
    network, x = linear(factor=factor), points()
    y = network(x).argmax(1)
    wanted = closed_form(linear(), x, y, norm).double()
    found = deepfool(norm, network, x, y)
    assert (network(found).argmax(1) != y).all()
    assert torch.allclose(lengths(found - x, norm), 1.02 * wanted, rtol=0, atol=1e-5)
    # on the boundary itself another step of 1e-4 goes beyond it
    on_it = deepfool(norm, network, x, y, overshoot=0)
    assert (network(on_it).argmax(1) != y).all()
    assert torch.allclose(lengths(on_it - x, norm), wanted, rtol=0, atol=1.1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_what_the_box_cuts_off_is_made_up_for_by_later_steps(norm):
    x = points()
    x[:, :, 0] = 0.03
    network = linear()
    y = network(x).argmax(1)
    once = deepfool(norm, network, x, y, steps=1)
    cut_off = (once == x).flatten(1).all(1)
    assert 0 < cut_off.sum() < len(x)
    found = deepfool(norm, network, x, y)
    assert (network(found).argmax(1) != y).all()
    assert torch.equal(found[~cut_off], once[~cut_off])


@pytest.mark.parametrize("norm", NORMS)
def test_what_is_wrong_already_or_never_wrong_stays(norm):
    network, x = linear(), points()
    y = network(x).argmax(1)
    assert torch.equal(deepfool(norm, network, x, (y + 1) % 5), x)
    assert torch.equal(deepfool(norm, network, x[:0], y[:0]), x[:0])
    two, hair = wrong_by_a_hair()
    assert torch.equal(deepfool(norm, two, hair, torch.tensor([0])), hair)
    far = linear()
    far[1].bias[0] = 1e3
    mixed = torch.where(torch.arange(12) % 2 == 0, 0, 1)
    assert torch.equal(deepfool(norm, far, x, mixed), x)
    far[1].weight.zero_()
    assert torch.equal(deepfool(norm, far, x, mixed), x)


@pytest.mark.parametrize("norm", NORMS)
def test_only_candidates_are_looked_at(norm):
    """The second largest logit is far away, as its gradient is small; the third is nearer."""
    network = linear(classes=3)
    network[1].weight.copy_(torch.tensor([[1.0], [1.1], [-9.0]]).expand(3, 16))
    network[1].bias.copy_(torch.tensor([0.0, -4.0, 72.0]))
    x, y = torch.full((1, 1, 4, 4), 0.5), torch.tensor([0])
    assert network(x).tolist() == [[8.0, pytest.approx(4.8), 0.0]]
    assert deepfool(norm, network, x, y).mean() < 0.5
    # the way to the second ends at the end of the box
    assert torch.equal(deepfool(norm, network, x, y, candidates=2), x)


def reachable(network, goal):
    """Whether some input in the box has a linear network's goal as its class."""
    weight, bias = (one.double().numpy() for one in (network[1].weight, network[1].bias))
    others = [k for k in range(len(bias)) if k != goal]
    leads = bias[goal] - bias[others]
    return linprog(np.zeros(16), weight[others] - weight[goal], leads - 1e-4, bounds=(0, 1)).success


@pytest.mark.parametrize("norm", NORMS)
def test_a_goal_is_reached_where_the_box_holds_it(norm):
    network, x = linear(), points()
    y = network(x).argmax(1)
    classes = {goal: reachable(network, goal) for goal in range(5)}
    assert 2 < sum(classes.values()) < 5
    for goal, held in classes.items():
        goals = torch.full_like(y, goal)
        found = deepfool(norm, network, x, y, goals, steps=10)
        reached = (network(found).argmax(1) == goal) & (y != goal)
        assert torch.equal(reached, (y != goal) & held)
        assert torch.equal(found[~reached], x[~reached])
    two = linear(classes=2)
    y = two(x).argmax(1)
    assert torch.equal(deepfool(norm, two, x, y, 1 - y), deepfool(norm, two, x, y))


@pytest.mark.parametrize("norm", NORMS)
def test_a_row_does_not_depend_on_the_others(norm):
    network, x, y = trained()
    whole = deepfool(norm, network, x, y)
    for rows in (slice(0, 3), slice(40, 53)):
        part = deepfool(norm, network, x[rows], y[rows])
        assert torch.allclose(part, whole[rows], atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_deepfool_finds_what_foolbox_finds(norm):
    network, x, y = trained()
    attack = {"l2": foolbox.attacks.L2DeepFoolAttack, "linf": foolbox.attacks.LinfDeepFoolAttack}
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    reference = attack[norm](steps=50)(model, x, y, epsilons=None)[0]
    wanted, reached = (
        float(distances(network, found, x, y, norm).median())
        for found in (reference, deepfool(norm, network, x, y))
    )
    assert reached == pytest.approx(wanted, rel=0.02)


def test_deepfool_finds_what_torchattacks_finds():
    """Torchattacks has no least step, so that some of its rows stall on the boundary."""
    network, x, y = trained()
    reference = torchattacks.DeepFool(network, steps=50, overshoot=0.02)(x, y)
    wanted, reached = (
        distances(network, found, x, y, "l2")
        for found in (reference, deepfool("l2", network, x, y))
    )
    both = wanted.isfinite()
    assert both.sum() > 90
    assert reached.isfinite().all()
    assert torch.allclose(reached[both], wanted[both], rtol=0.005)


@pytest.mark.slow
def test_the_median_distance_on_a_robust_network_is_the_known_one():
    """Foolbox 3.3.4: 4.229 in L2 and 0.5121 in L∞, found for 191 and 200 of 200 digits."""
    network, x, y = kw_mnist(200)
    known = {"l2": (4.229, 0.04, 191), "linf": (0.5121, 0.005, 200)}
    for norm, (median, tolerance, wrong) in known.items():
        found = distances(network, deepfool(norm, network, x, y), x, y, norm)
        assert np.median(found) == pytest.approx(median, abs=tolerance)
        assert abs(int(found.isfinite().sum()) - wrong) <= 3


@pytest.mark.parametrize("norm", NORMS)
def test_a_gradient_of_nan_is_no_step(norm):
    x = points()
    y = torch.zeros(len(x), dtype=torch.int64)
    assert torch.equal(deepfool(norm, freeze(NanGradient()), x, y, steps=3), x)
