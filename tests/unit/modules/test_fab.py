"""FAB: its projections, its closed form on linear networks, and torchattacks' results."""

import copy

import numpy as np
import pytest
import torch
import torchattacks
from scipy.optimize import linprog, minimize
from torch import nn

from harness.runtime.contracts import Budget, Spec
from tests.support.modules import context, live, module, part
from tests.support.nearest_inputs import closed_form, linear, points

boundary = part("attack", "fab", "boundary")
IMAGES = Spec("classification", 5, (1, 4, 4))


@pytest.fixture
def x():
    return points()


def planes(rows=30, size=7):
    """Points in the box and hyperplanes, some with zeros; distances of all sizes."""
    random = torch.Generator().manual_seed(0)
    x = torch.rand(rows, size, generator=random)
    w = torch.randn(rows, size, generator=random)
    w[torch.rand(rows, size, generator=random) < 0.2] = 0
    return x, w, 2 * torch.randn(rows, generator=random)


def reachable(x, w, r):
    """Whether a hyperplane meets the box."""
    up, down = (w * (1 - x)).double(), (w * -x).double()
    low, high = torch.minimum(up, down).sum(1), torch.maximum(up, down).sum(1)
    return (r >= low + 1e-4) & (r <= high - 1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_step_is_the_shortest_that_reaches_the_plane_inside_the_box(norm):
    x, w, r = planes()
    d = boundary.step_to_hyperplane(x, w, r, norm)
    assert (x + d).min() >= 0
    assert (x + d).max() <= 1 + 1e-6
    inside = reachable(x, w, r)
    assert 10 < inside.sum() < 30
    assert torch.allclose((w * d).sum(1)[inside], r[inside], atol=1e-5)
    for row in inside.nonzero().flatten().tolist():
        a, b, c = (one[row].double().numpy() for one in (x, w, r))
        bounds = list(zip(-a, 1 - a, strict=True))
        if norm == "linf":  # variables: the change, and the length that bounds it
            sides = np.vstack([np.c_[np.eye(7), -np.ones(7)], np.c_[-np.eye(7), -np.ones(7)]])
            shortest = linprog(np.r_[np.zeros(7), 1], sides, np.zeros(14), [np.r_[b, 0]], [c],
                               [*bounds, (0, None)]).fun  # fmt: skip
        else:
            plane = {"type": "eq", "fun": lambda d, b=b, c=c: b @ d - c}
            found = minimize(lambda d: d @ d, np.zeros(7), bounds=bounds, constraints=plane,
                             jac=lambda d: 2 * d, tol=1e-12)  # fmt: skip
            shortest = np.sqrt(found.fun)
        assert boundary.lengths(d[row : row + 1], norm).item() == pytest.approx(shortest, abs=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_plane_out_of_reach_is_approached_up_to_the_corner(norm):
    x, w, r = planes()
    d = boundary.step_to_hyperplane(x, w, 1e6 * r.sign(), norm)
    moved = (w * r.sign()[:, None]).sign()
    assert torch.allclose((x + d)[moved > 0], torch.ones(()))
    assert torch.allclose((x + d)[moved < 0], torch.zeros(()))
    assert not d[w == 0].any()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_gradient_and_no_distance_are_no_step(norm):
    x, w, r = planes()
    for normal, distance in ((torch.zeros_like(w), r), (w, torch.zeros_like(r))):
        assert not boundary.step_to_hyperplane(x, normal, distance, norm).any()


def fab(network, x, y, budget, folder, goal=None, **params):
    attack = module("attack", "fab", **params)
    spec = Spec("classification", network(x[:1]).shape[1], tuple(x.shape[1:]))
    given = (live(copy.deepcopy(network), spec), x, y, goal, budget, context(folder, spec))
    return attack.perturb(*given)


@pytest.mark.parametrize("factor", [1.0, 2.0**60, 2.0**-60])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_distance_on_a_linear_network_is_the_closed_form(tmp_path, x, norm, factor):
    network = linear(factor=factor)
    y = network(x).argmax(1)
    budget, wanted = Budget(norm=norm, eps=0.9), closed_form(linear(), x, y, norm).double()
    # a step ends 5 % beyond the boundary, from nine tenths of the way: half a per cent too far
    for eta, tolerance in ((1.05, 0.0055), (1.001, 0.0002)):
        found = fab(network, x, y, budget, tmp_path, steps=30, eta=eta)
        assert (network(found).argmax(1) != y).all()
        length = boundary.lengths((found - x).flatten(1), norm)
        assert torch.allclose(length, wanted, rtol=tolerance, atol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_wrong_input_beyond_the_radius_is_not_returned(tmp_path, x, norm):
    network = linear()
    y = network(x).argmax(1)
    eps = closed_form(network, x, y, norm).median().item() * 1.01
    found = fab(network, x, y, Budget(norm=norm, eps=eps), tmp_path, steps=20)
    broken = network(found).argmax(1) != y
    assert 0 < broken.sum() < len(x)
    assert torch.equal(found[~broken], x[~broken])
    assert boundary.lengths((found - x).flatten(1), norm).max() <= eps


def test_what_is_wrong_already_stays_and_a_goal_is_reached(tmp_path, x):
    network = linear()
    y = network(x).argmax(1)
    budget = Budget(norm="linf", eps=0.9)
    assert torch.equal(fab(network, x, (y + 1) % 5, budget, tmp_path, steps=3), x)
    found = fab(network, x, y, budget, tmp_path, goal=(y + 2) % 5, steps=30)
    assert (network(found).argmax(1) == (y + 2) % 5).all()


def test_two_classes_have_one_target(tmp_path, x):
    network = linear(classes=2)
    y = network(x).argmax(1)
    found = fab(network, x, y, Budget(norm="linf", eps=0.9), tmp_path, steps=20)
    assert (network(found).argmax(1) != y).all()


def test_a_row_does_not_depend_on_the_others(tmp_path, x):
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 30), nn.ReLU(), nn.Linear(30, 5)).eval()
    y, budget = network(x).argmax(1), Budget(norm="l2", eps=0.3)
    whole = fab(network, x, y, budget, tmp_path, steps=10)
    assert (whole != x).any()
    for rows in (slice(0, 3), slice(5, 12)):
        part = fab(network, x[rows], y[rows], budget, tmp_path, steps=10)
        # rounding of another batch decides which side of a boundary a point is on that touches it
        found, wanted = (
            boundary.lengths((one - x[rows]).flatten(1), "l2") for one in (part, whole[rows])
        )
        assert torch.allclose(found, wanted, rtol=0.02)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("l2", 0.12)])
def test_fab_finds_what_torchattacks_finds(tmp_path, norm, eps):
    """On the median over rows within 2 %, and as many examples within the radius."""
    torch.manual_seed(3)
    x = torch.rand(100, 1, 4, 4)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(16, 40), nn.Tanh(), nn.Linear(40, 5))
    network = copy.deepcopy(teacher).eval()
    y = network(x).argmax(1)
    reference = torchattacks.FAB(
        network, norm={"linf": "Linf", "l2": "L2"}[norm], eps=eps, steps=30, n_restarts=1,
        n_classes=5, multi_targeted=True,
    )  # fmt: skip
    theirs = network(reference(x, y)).argmax(1) == y
    ours = (
        network(fab(network, x, y, Budget(norm=norm, eps=eps), tmp_path, steps=30)).argmax(1) == y
    )
    assert 0.1 < theirs.float().mean() < 0.9
    assert abs(theirs.sum() - ours.sum()) <= 2


@pytest.mark.parametrize("restarts", [1, 2])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_a_radius_the_nearest_is_returned_at_any_distance(tmp_path, x, norm, restarts):
    network = linear()
    y = network(x).argmax(1)
    y[0] = (y[0] + 1) % 5  # wrong already
    budget = Budget(norm=norm, minimal=True)
    found = fab(network, x, y, budget, tmp_path, steps=30, restarts=restarts)
    assert torch.equal(found[0], x[0])
    length = boundary.lengths((found - x).flatten(1), norm)[1:]
    wanted = closed_form(network, x, y, norm).double()[1:]
    assert torch.allclose(length, wanted, rtol=0.0055, atol=1e-5)
