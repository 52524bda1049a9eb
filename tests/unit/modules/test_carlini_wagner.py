"""Carlini and Wagner's attack: its closed form, what it returns, and Foolbox's results."""

import pytest
import torch
from torch import nn

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


def carlini_wagner(network, x, y, goal=None, **params):
    params = {"steps": 100, "initial_const": 0.1, "binary_search_steps": 6, **params}
    return search("carlini-wagner", "l2", network, x, y, goal, **params)


def margins(network, x, y):
    """How far the largest other logit leads the label's."""
    logits = network(x)
    return logits.scatter(1, y[:, None], -torch.inf).amax(1) - logits.gather(1, y[:, None])[:, 0]


def test_the_distance_on_a_linear_network_is_the_closed_form():
    network, x = linear(), points()
    y = network(x).argmax(1)
    found = carlini_wagner(network, x, y, steps=300, stepsize=0.002)
    assert (network(found).argmax(1) != y).all()
    length, wanted = lengths(found - x, "l2"), closed_form(network, x, y, "l2").double()
    assert (length >= wanted).all()
    # a search hovers about the boundary: the nearest that was beyond it is a little too far
    assert torch.allclose(length, wanted, rtol=0, atol=1e-4)


class Counting(nn.Module):
    """A network that counts the inputs it is given."""

    def __init__(self, network):
        super().__init__()
        self.network, self.inputs = network, 0

    def forward(self, x):
        self.inputs += len(x)
        return self.network(x)


def test_early_ends_save_passes_and_cost_no_distance():
    network, x, y = trained()
    passes, medians = {}, {}
    for abort_early in (True, False):
        counting = Counting(network)
        # checks every 37 steps
        params = {"steps": 200, "stepsize": 0.2, "abort_early": abort_early}
        found = carlini_wagner(counting, x[:20], y[:20], **params)
        medians[abort_early] = distances(network, found, x[:20], y[:20], "l2").median()
        passes[abort_early] = counting.inputs
    assert passes[False] > 6 * 20 * 200
    assert passes[True] < 0.8 * passes[False]
    assert medians[True] < 1.01 * medians[False]


def test_found_inputs_lead_by_the_confidence():
    network, x = linear(), points()
    y = network(x).argmax(1)
    for confidence in (0.1, 0.3):
        found = carlini_wagner(network, x, y, confidence=confidence)
        lead = margins(network, found, y)
        assert lead.min() >= confidence - 1e-5
        assert lead.median() < confidence + 0.01
    # in reach of the box are leads of less than 3
    assert margins(network, x.round(), y).max() < 3
    assert torch.equal(carlini_wagner(network, x, y, confidence=3), x)


def test_the_constant_grows_until_it_is_enough_and_then_shrinks():
    network, x = linear(), points()
    y = network(x).argmax(1)
    wanted = closed_form(network, x, y, "l2")

    def median(const, searches):
        params = {"initial_const": const, "binary_search_steps": searches, "steps": 300}
        found = carlini_wagner(network, x, y, **params)
        return (distances(network, found, x, y, "l2") / wanted).median()

    assert median(1e-3, 1) == torch.inf
    assert median(1e-3, 7) < 1.01
    assert 1.2 < median(1e3, 1) < 10
    assert median(1e3, 10) < 1.01


def test_what_is_wrong_already_or_never_wrong_stays():
    network, x = linear(), points()
    y = network(x).argmax(1)
    few = {"steps": 20, "binary_search_steps": 3}
    assert torch.equal(carlini_wagner(network, x, (y + 1) % 5, **few), x)
    assert torch.equal(carlini_wagner(network, x[:0], y[:0], **few), x[:0])
    two, hair = wrong_by_a_hair()
    assert torch.equal(carlini_wagner(two, hair, torch.tensor([0]), **few), hair)
    far = linear()
    far[1].bias[0] = 1e3
    mixed = torch.where(torch.arange(12) % 2 == 0, 0, 1)
    assert torch.equal(carlini_wagner(far, x, mixed, **few), x)


def test_values_at_the_ends_of_the_box_can_leave_them():
    network, x = linear(), points().round()
    y = network(x).argmax(1)
    found = carlini_wagner(network, x, y, stepsize=0.1)
    assert (network(found).argmax(1) != y).all()


def test_a_goal_is_reached():
    network, x = linear(), points()
    y = network(x).argmax(1)
    goal = (y + 2) % 5
    found = carlini_wagner(network, x, y, goal)
    assert (network(found).argmax(1) == goal).all()
    assert torch.equal(carlini_wagner(network, x, y, y), x)


def test_a_row_does_not_depend_on_the_others():
    network, x, y = trained()
    # so that rows end early, at different steps
    few = {"steps": 120, "stepsize": 0.5}
    whole = carlini_wagner(network, x, y, **few)
    for rows in (slice(0, 3), slice(40, 53)):
        part = carlini_wagner(network, x[rows], y[rows], **few)
        # rounding of another batch decides which of two steps near the boundary is beyond it
        found, wanted = (lengths(one - x[rows], "l2") for one in (part, whole[rows]))
        assert torch.allclose(found, wanted, rtol=0.005)


def test_carlini_wagner_finds_what_foolbox_finds():
    network, x, y = trained()
    params = {"binary_search_steps": 9, "steps": 100, "initial_const": 0.001}
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    reference = foolbox.attacks.L2CarliniWagnerAttack(**params)(model, x, y, epsilons=None)[0]
    found = carlini_wagner(network, x, y, **params)
    wanted, reached = (
        float(distances(network, one, x, y, "l2").median()) for one in (reference, found)
    )
    assert reached == pytest.approx(wanted, rel=0.02)


def test_a_gradient_of_nan_is_no_step():
    x = points()
    y = torch.zeros(len(x), dtype=torch.int64)
    assert torch.equal(carlini_wagner(freeze(NanGradient()), x, y, steps=3), x)
