"""Measures of gradients: networks whose figures are known."""

import math

import pytest
import torch
from torch import nn

from harness.runtime.contracts import Spec
from harness.runtime.worker import health_names as names
from harness.runtime.worker.gradient_health import (
    Labels,
    alignment,
    bad_share,
    climb,
    foretell,
    gradient_of,
    measure,
)

SPEC = Spec("classification", 3, (1, 4, 4))
DENSE = Spec("segmentation", 3, (1, 4, 4), void=255)


class Plain(nn.Module):
    """A linear network whose margins are those of three sums of weighted values."""

    def __init__(self, scale=1.0, sign=1.0):
        super().__init__()
        weights = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
        self.weights, self.scale, self.sign = weights, scale, sign

    def forward(self, x):
        x = x.detach() + self.sign * (x - x.detach())  # the value is x, whatever the gradient
        return self.scale * (x.flatten(1) @ self.weights.T)


class OneHot(Plain):
    def forward(self, x):
        out = super().forward(x)
        hot = nn.functional.one_hot(out.argmax(1), 3).float()
        return hot + (out - out.detach())


class Flat(Plain):
    def forward(self, x):
        out = super().forward(x)
        return out.detach() + 0 * out


class Maps(nn.Module):
    """Each pixel's logits are its own value, its opposite and a constant."""

    def forward(self, x):
        return torch.cat([x - 0.5, 0.5 - x, torch.full_like(x, -1)], dim=1)


@pytest.fixture
def x():
    return torch.rand(32, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def figures(network, x, y=None, spec=SPEC, training=None):
    def predict(x):
        with torch.no_grad():
            return network(x)

    y = predict(x).argmax(1) if y is None else y
    training = training or (lambda at: gradient_of(network, Labels(y, spec).task_loss, at))
    return measure(network, predict, x, y, spec, torch.Generator().manual_seed(0), training)


def test_an_honest_network_is_healthy_in_every_figure(x):
    found = figures(Plain(), x)
    assert found.keys() == set(names.PROBE)
    assert found[names.EXAMPLES] == 32
    assert [found[name] for name in (names.ZERO_START, names.ZERO_END)] == [0, 0]
    assert found[names.LOSS_ROSE] == found[names.UNLIMITED] == 1
    assert found[names.AGREEMENT] > 0.95  # a change of the second class is no linear function
    assert 2 < found[names.GAIN] < math.sqrt(16) * 1.5


@pytest.mark.parametrize("scale", [300.0, 1e-8, 1e-30])
def test_the_scale_of_logits_changes_nothing_but_the_cross_entropy(x, scale):
    plain, scaled = figures(Plain(), x), figures(Plain(scale), x)
    assert scaled[names.SPREAD] == pytest.approx(scale * plain[names.SPREAD])
    loss = {names.ZERO_LOSS_START, names.ZERO_LOSS_END, names.PROBE_SATURATED, names.LOSS_COSINE}
    for name in set(names.PROBE) - {names.SPREAD, *loss}:
        assert scaled[name] == pytest.approx(plain[name], abs=1e-3), name


def test_a_saturated_cross_entropy_shows_in_its_own_figure(x):
    found = figures(Plain(3000), x)
    assert found[names.PROBE_SATURATED] > 0.8
    assert found[names.ZERO_LOSS_START] > 0.8
    assert found[names.ZERO_START] == 0


def test_the_training_loss_is_compared_with_the_margin(x):
    network = Plain()
    y = network(x).argmax(1)
    spread = torch.ones(len(x))
    along = gradient_of(network, lambda out: Labels(y, SPEC).loss(out, spread), x)
    assert figures(network, x)[names.LOSS_COSINE] > 0.8
    half = torch.where(torch.arange(len(x)) % 2 == 0, 1.0, 0.0).reshape(-1, 1, 1, 1)
    for factor, wanted in ((3.0, 1.0), (-1e-20, -1.0), (half, 1.0)):
        found = figures(network, x, training=lambda _, f=factor: f * along)
        assert found[names.LOSS_COSINE] == pytest.approx(wanted)
    for nothing in (torch.zeros_like(x), torch.full_like(x, torch.nan)):
        assert names.LOSS_COSINE not in figures(network, x, training=lambda _, n=nothing: n)


def test_a_gradient_of_the_wrong_sign_is_found_by_four_figures(x):
    found = figures(Plain(sign=-1), x)
    assert found[names.AGREEMENT] < -0.95
    assert found[names.GAIN] < -2
    assert found[names.LOSS_ROSE] == found[names.UNLIMITED] == 0


def test_one_hot_answers_agree_with_no_gradient(x):
    found = figures(OneHot(), x)
    assert found[names.AGREEMENT] < 0.5
    assert found[names.ZERO_START] == 0


def test_no_gradient_at_all(x):
    found = figures(Flat(), x)
    zero = (names.ZERO_START, names.ZERO_END, names.ZERO_LOSS_START, names.ZERO_LOSS_END)
    assert [found[name] for name in zero] == [1, 1, 1, 1]
    assert found[names.GAIN] == found[names.AGREEMENT] == 0
    assert found[names.LOSS_ROSE] == found[names.UNLIMITED] == 0


def test_answers_that_are_not_finite_leave_finite_figures(x):
    found = figures(Plain(math.nan), x, torch.zeros(32, dtype=torch.int64))
    assert all(map(math.isfinite, found.values()))
    assert found[names.ZERO_START] == 1
    assert found[names.UNLIMITED] == 1  # the judge counts them as wrong
    assert names.LOSS_ROSE not in found  # no row was right


def test_label_maps_are_measured_in_the_pixels_that_count(x):
    y = (x[:, 0] < 0.5).to(torch.uint8)  # what the network answers
    y[:, 0] = 255
    found = figures(Maps(), x[:4], y[:4], DENSE)
    assert found[names.UNLIMITED] == found[names.LOSS_ROSE] == 1
    assert found[names.ZERO_START] == 0
    gradient = gradient_of(Maps(), lambda out: Labels(y[:4], DENSE).margins(out).sum((1, 2)), x[:4])
    assert gradient.shape == (4, 1, 4, 4)


def test_a_loss_that_is_saturated_in_most_pixels_of_a_picture_shows(x):
    y = (x[:, 0] < 0.5).to(torch.uint8)
    assert figures(Maps(), x[:4], y[:4], DENSE)[names.PROBE_SATURATED] == 0
    found = figures(lambda x: 600 * Maps()(x), x[:4], y[:4], DENSE)
    assert 0.7 < found[names.PROBE_SATURATED] < 0.95
    assert found[names.ZERO_LOSS_START] == 0


def test_maps_without_a_label_say_nothing(x):
    found = figures(Maps(), x[:4], torch.full((4, 4, 4), 255, dtype=torch.uint8), DENSE)
    assert not {names.UNLIMITED, names.LOSS_ROSE, names.PROBE_SATURATED} & found.keys()
    assert found[names.ZERO_START] == 1  # no loss, no gradient


def test_a_search_keeps_to_its_radius_and_to_the_box(x):
    labels = Labels(Plain()(x).argmax(1), SPEC)
    found = climb(Plain(), lambda out: labels.margins(out), x, (0.2,) * 3, 0.1)
    assert (found - x).abs().max() <= 0.1 + 1e-6
    assert found.min() >= 0 and found.max() <= 1  # noqa: PT018


def test_alignment_of_known_changes():
    gradient = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    moves = torch.tensor([[[1.0, 0.0]] * 3, [[1.0, 1.0]] * 3])
    foretold = torch.tensor([[1.0] * 3, [1.0] * 3])
    changes = foretold * torch.tensor([1.0, -2.0, 1.0])
    gain, agreement = alignment([*foretell(gradient, moves)], changes)
    assert agreement.tolist() == pytest.approx([1, -1, 0])
    assert gain.tolist() == pytest.approx([math.sqrt(2), -math.sqrt(2), math.sqrt(2)])


def test_the_share_of_useless_rows():
    rows = torch.tensor([[0.0, 0.0], [1e-40, 0.0], [math.inf, 1.0], [1.0, 2.0]])
    assert bad_share(rows) == 0.5
