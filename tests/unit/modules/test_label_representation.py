"""Label representations: heads, decoding, training, scores that can be attacked."""

import math

import pytest
import torch
from torch import nn

from harness.runtime.recipe import Recipe
from tests.support.labels import DIGITS, defense, part
from tests.support.modules import context
from tests.support.students import data


class Net(nn.Module):
    """Features of a picture, then one linear layer somewhere below."""

    def __init__(self, features, outputs):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.LazyLinear(features), nn.ReLU())
        self.top = nn.Sequential(nn.Identity(), nn.Linear(features, outputs))

    def forward(self, x):
        return self.top(self.body(x))


class Victim:
    head, stages = "top.1", ()

    def build(self, spec):
        torch.manual_seed(0)
        network = Net(16, spec.outputs)
        network(torch.zeros(2, *spec.shape))
        return network


def built(variant=None, **params):
    return defense(variant, **params).build(Victim(), DIGITS)


def decode_of(network):
    return next(m for m in network.modules() if type(m).__name__ == "Decode")


@pytest.mark.parametrize("variant", ["random", "lowdim", "composite", "uniform", "onehot80"])
def test_the_largest_score_is_the_nearest_label(variant):
    decode = decode_of(built(variant))
    drawn = decode.codebook[torch.randint(10, (64,))] + 40 * torch.randn(64, 1)
    drawn = drawn + 20 * torch.randn(drawn.shape)
    distances = torch.cdist(drawn.double(), decode.codebook.double())
    assert torch.equal(decode(drawn).argmax(dim=1), distances.argmin(dim=1))


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [
        ("random", 109_033 + 2 * 16 + 64 * 17),
        ("lowdim", 16 * 10 + 10),
        ("normal-dim-4000", 16 * 4000 + 4000),
        ("random-linear", 16 * 4096 + 4096),
        ("category-deconvolution", 109_033 + 2 * 16 + 64 * 17 + 4096 * 10 + 10),
    ],
)
def test_parameters_of_heads(variant, parameters):
    head = built(variant).get_submodule("top.1")
    assert sum(p.numel() for p in head.parameters()) == parameters


@pytest.mark.parametrize(
    ("features", "label", "total"),
    [
        (64, "square 64", 579_577 - 466_256),
        (64, "square 48", 550_905 - 466_256),
        (64, "vector 50", 469_506 - 466_256),
        (64, "vector 10", 466_906 - 466_256),
        (512, "square 64", 20_178_281 - 20_035_392),
        (512, "square 48", 20_149_609 - 20_035_392),
        (512, "vector 50", 20_061_042 - 20_035_392),
    ],
)
def test_parameters_of_published_heads(features, label, total):
    form, size = label.split()
    shape = (int(size),) * (2 if form == "square" else 1)
    head = part("heads").make_head("auto", features, shape)
    assert sum(p.numel() for p in head.parameters()) == total
    head.eval()
    assert head(torch.zeros(3, features)).shape == (3, math.prod(shape))


@pytest.mark.parametrize("shape", [(40, 40), (64, 32), (8, 8), (64, 64, 3)])
def test_labels_that_the_deconvolution_cannot_make(shape):
    with pytest.raises(ValueError, match="multiple of 16"):
        part("heads").make_head("deconvolution", 16, shape)
    linear = part("heads").make_head("linear", 16, shape)
    assert linear(torch.zeros(2, 16)).shape == (2, math.prod(shape))


def test_a_head_that_is_not_one_linear_layer():
    victim = Victim()
    victim.head = "top"
    with pytest.raises(ValueError, match="top is Sequential, expected one linear layer"):
        defense("random").build(victim, DIGITS)


def test_the_loss_is_the_smooth_distance_to_the_label():
    """δ = 1: half the square below a distance of 1, the distance less a half above."""
    made = defense("lowdim")
    network = made.build(Victim(), DIGITS).eval()
    x, y = torch.rand(5, 1, 8, 8), torch.arange(5)
    drawn = network.get_submodule("top.1.draw")(network.body(x))
    gap = (drawn - decode_of(network).codebook[y]).abs()
    expected = torch.where(gap < 1, gap.square() / 2, gap - 0.5).mean(dim=1)
    assert torch.allclose(made.loss(network, x, y), expected)


def test_ordinary_labels_behind_the_head_for_pictures_have_the_cross_entropy():
    made = defense("category-deconvolution")
    network = made.build(Victim(), DIGITS).eval()
    x, y = torch.rand(5, 1, 8, 8), torch.arange(5)
    expected = -network(x).log_softmax(dim=1)[torch.arange(5), y]
    assert torch.allclose(made.loss(network, x, y), expected)


class Trains(Victim):
    """Stand-in of training: sets what the network draws to the labels, with noise."""

    steps = None

    def recipe(self, train):

        return Recipe(steps=10, batch=4, lr=0.1)

    def fit(self, network, train, val, loss, ctx, recipe=None):
        self.steps = recipe.steps


class Drawn(nn.Module):
    """Draws the labels of given classes, in the order of the batches."""

    def __init__(self, decode, classes):
        super().__init__()
        self.decode, self.classes = decode, classes

    def forward(self, x):
        return self.decode(self.decode.codebook[self.classes[: len(x)]] * 0.99)


@pytest.mark.parametrize("margin", [8.0, 2.0])
def test_scores_have_the_median_margin_after_training(margin, tmp_path):
    val = data(40)
    made, victim = defense("random", margin=margin), Trains()
    network = Drawn(decode_of(made.build(Victim(), val.spec)), val.y)
    made.fit(victim, network, val, val, None, context(tmp_path, val.spec))
    scores = network(val.x)
    two = scores.topk(2, dim=1).values
    assert (two[:, 0] - two[:, 1]).median().item() == pytest.approx(margin, rel=1e-4)
    assert victim.steps == 10
    assert "decode.scale" in network.state_dict()


def test_scores_without_a_right_answer_have_no_scale(tmp_path):
    val = data(40)
    made = defense("random")
    decode = decode_of(made.build(Victim(), val.spec))
    network = Drawn(decode, (val.y + 1) % val.spec.outputs)
    with pytest.raises(ValueError, match="no validation image is right after training"):
        made.fit(Trains(), network, val, val, None, context(tmp_path, val.spec))


def test_unscaled_scores_stay_as_they_are(tmp_path):
    val = data(40)
    made = defense("random-unscaled")
    network = Drawn(decode_of(made.build(Victim(), val.spec)), val.y)
    made.fit(Trains(), network, val, val, None, context(tmp_path, val.spec))
    assert network.decode.scale == 1
