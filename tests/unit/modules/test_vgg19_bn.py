"""VGG19 with batch norm: its size, stages, normalisation and recipes."""

import pytest
import torch
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from harness.runtime.contracts import Data, Spec
from harness.runtime.model import capture
from tests.support.modules import module

SPEC = Spec("classification", 10, (3, 32, 32))


def build(**params):
    torch.manual_seed(0)
    return module("victim", "vgg19-bn", **params).build(SPEC)


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_parameters():
    network = build()
    assert count(network) == 20_040_522
    assert count(network.features) == 20_035_392
    assert network.head.in_features == 512


def test_it_is_configuration_e_with_batch_norm():
    """Torchvision's layers, in their order, hold the same tensors and give the same features."""
    ours, theirs = build().eval(), make_layers(cfgs["E"], batch_norm=True).eval()
    pairs = list(zip(ours.features.parameters(), theirs.parameters(), strict=True))
    assert [tuple(a.shape) for a, _ in pairs] == [tuple(b.shape) for _, b in pairs]
    for a, b in pairs:
        b.data.copy_(a.data)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2023, 0.1994, 0.2010])
    with torch.no_grad():
        features = theirs((x - mean.view(3, 1, 1)) / std.view(3, 1, 1)).flatten(1)
        assert torch.allclose(ours(x), ours.head(features), atol=1e-5)


def test_first_convolutions_have_the_published_variance():
    network = build()
    for layer in (m for m in network.modules() if isinstance(m, nn.Conv2d)):
        wanted = 2 / (9 * layer.out_channels)
        assert float(layer.weight.detach().var()) == pytest.approx(wanted, rel=0.12)
        assert not layer.bias.any()


@pytest.mark.parametrize("side", [32, 64])
def test_stages_halve_the_side(side):
    victim = module("victim", "vgg19-bn", width=4)
    network = victim.build(SPEC).eval()
    with torch.no_grad(), capture(network, victim.stages, inputs=False) as seen:
        assert network(torch.rand(2, 3, side, side)).shape == (2, 10)
    channels, sides = (4, 8, 16, 32, 32), [side // 2**k for k in range(1, 6)]
    assert [tuple(one.shape[1:]) for one in seen] == [
        (c, s, s) for c, s in zip(channels, sides, strict=True)
    ]


@pytest.mark.parametrize(
    ("variant", "epochs", "rates"),
    [
        ("decayed-600", 600, [(299, 0.1), (300, 0.01), (449, 0.01), (450, 0.001)]),
        ("constant-200", 200, [(199, 0.1)]),
        ("constant-100", 100, [(99, 0.1)]),
    ],
)
def test_recipes(variant, epochs, rates):
    raw, y = torch.zeros(1000, 3, 32, 32, dtype=torch.uint8), torch.zeros(1000, dtype=torch.int64)
    train = Data(raw, y, torch.arange(1000), SPEC, torch.device("cpu"))
    recipe = module("victim", "vgg19-bn", variant).recipe(train)
    assert recipe.steps == epochs * 8
    for epoch, rate in rates:
        assert {round(recipe.rate(8 * epoch + step), 6) for step in (0, 7)} == {rate}
    assert (recipe.batch, recipe.momentum, recipe.weight_decay, recipe.crop, recipe.flip) == (
        128, 0.9, 1e-4, "padded", True,
    )  # fmt: skip
    assert recipe.selection.every == 8
