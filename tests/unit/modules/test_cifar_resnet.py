"""Residual networks for small pictures: their sizes, shortcuts, recipe, and released weights."""

import gzip

import numpy as np
import pytest
import torch
from torch import nn

from harness.runtime.contracts import ContractError, Data, Spec
from harness.runtime.model import capture
from harness.runtime.weight_files import read_tensors
from harness.runtime.worker.state_form import StateForm
from tests.support.modules import module
from tests.support.sources import shared

SPEC = Spec("classification", 10, (3, 32, 32))
FILES = {20: "resnet20-12fca82f.th", 32: "resnet32-d509ac18.th", 44: "resnet44-014dd654.th"}


def build(**params):
    torch.manual_seed(0)
    return module("victim", "cifar-resnet", **params).build(SPEC)


@pytest.mark.parametrize(
    ("depth", "shortcut", "parameters"),
    [
        (20, "pad", 269_722), (32, "pad", 464_154), (44, "pad", 658_586), (56, "pad", 853_018),
        (32, "projection", 466_906), (110, "projection", 1_730_714), (110, "pad", 1_727_962),
        (8, "pad", 75_290), (8, "projection", 78_042),
    ],
)  # fmt: skip
def test_parameters(depth, shortcut, parameters):
    network = build(depth=depth, shortcut=shortcut)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(("depth", "features"), [(32, 466_256), (110, 1_730_064)])
def test_parameters_without_the_head(depth, features):
    network = build(depth=depth, shortcut="projection")
    head = sum(p.numel() for p in network.linear.parameters())
    assert sum(p.numel() for p in network.parameters()) - head == features


def test_first_weights_by_fan_out_have_the_published_variance():
    network = build(depth=8, init="fan_out", shortcut="projection", width=64)
    for layer, size in ((network.conv1, 9 * 64), (network.layer2[0].shortcut[0], 128)):
        assert float(layer.weight.detach().var() * size / 2) == pytest.approx(1, rel=0.06)
    assert float(network.linear.weight.detach().abs().max()) <= 256**-0.5  # PyTorch's


def test_inputs_are_normalised_by_the_named_statistics():
    mean, std = (build(depth=8, statistics="cifar10").get_buffer(name) for name in ("mean", "std"))
    assert torch.allclose(mean.flatten(), torch.tensor([0.4914, 0.4822, 0.4465]))
    assert torch.allclose(std.flatten(), torch.tensor([0.2023, 0.1994, 0.2010]))
    assert float(build(depth=8).mean[0, 0, 0, 0]) == pytest.approx(0.485)


@pytest.mark.parametrize("width", [4, 5, 16])
def test_stages_halve_the_side_and_double_the_channels(width):
    victim = module("victim", "cifar-resnet", depth=8, width=width)
    network = victim.build(SPEC).eval()
    with torch.no_grad(), capture(network, victim.stages, inputs=False) as seen:
        assert network(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    shapes = [tuple(one.shape[1:]) for one in seen]
    assert shapes == [(width, 32, 32), (2 * width, 16, 16), (4 * width, 8, 8)]
    assert all(bool((one >= 0).all()) for one in seen)


def test_a_shortcut_without_parameters_takes_every_second_place():
    pad = build(depth=8).layer2[0].shortcut
    x = torch.rand(1, 16, 5, 5)
    found = pad(x)
    assert torch.equal(found[:, 8:24], x[:, :, ::2, ::2])
    assert not found[:, :8].any()
    assert not found[:, 24:].any()


def train_set(count):
    raw = torch.zeros(count, 3, 32, 32, dtype=torch.uint8)
    y = torch.zeros(count, dtype=torch.int64)
    return Data(raw, y, torch.arange(count), SPEC, torch.device("cpu"))


def test_the_published_recipe():
    recipe = module("victim", "cifar-resnet").recipe(train_set(1000))
    assert recipe.steps == 200 * 8
    assert recipe.milestones == (800, 1200)
    rates = [round(recipe.rate(step), 6) for step in (0, 799, 800, 1199, 1200)]
    assert rates == [0.1, 0.1, 0.01, 0.01, 0.001]
    assert (recipe.crop, recipe.flip, recipe.momentum, recipe.weight_decay, recipe.selection) == (
        "padded", True, 0.9, 1e-4, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("variant", "epochs", "rates"),
    [
        ("decayed-600", 600, [(299, 0.1), (300, 0.01), (449, 0.01), (450, 0.001)]),
        ("constant-200", 200, [(0, 0.1), (199, 0.1)]),
        ("constant-100", 100, [(0, 0.1), (99, 0.1)]),
    ],
)
def test_the_trainings_of_label_studies(variant, epochs, rates):
    """Their rate falls at the end of epochs 299 and 449, counted from 0."""
    recipe = module("victim", "cifar-resnet", variant, label_smoothing=0.1).recipe(train_set(1000))
    assert recipe.steps == epochs * 8
    for epoch, rate in rates:
        assert {round(recipe.rate(8 * epoch + step), 6) for step in (0, 7)} == {rate}
    assert (recipe.batch, recipe.selection.every, recipe.label_smoothing) == (128, 8, 0.1)


def test_a_recipe_measures_every_epoch_or_as_seldom_as_asked():
    seldom = {"select": True, "batch": 100, "measure_every": 50}
    recipe = module("victim", "cifar-resnet", **seldom).recipe(train_set(250))
    assert (recipe.selection.every, recipe.log_every) == (50, 50)


def test_a_recipe_of_steps_that_selects():
    victim = module("victim", "cifar-resnet", steps=30, schedule="cosine", select=True, batch=100)
    recipe = victim.recipe(train_set(250))
    assert (recipe.steps, recipe.milestones, recipe.selection.every) == (30, (), 3)

    class Zeros(nn.Module):
        def forward(self, x):
            return torch.eye(10)[torch.zeros(len(x), dtype=torch.int64)]

    assert recipe.selection.score(Zeros(), train_set(7)) == 1


def test_weights_of_another_depth_are_named():
    with pytest.raises(ContractError, match=r"layer1\.3\.bn1\.bias is not among them.*more"):
        StateForm.of(build(depth=20)).check(build(depth=32).state_dict(), "import_weights")


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "right"), [(20, 94), (32, 92), (44, 93)])
def test_the_released_networks_know_cifar_10(depth, right):
    """Counts on the first hundred test pictures, measured when the files were taken in."""
    folder = shared("cifar10")
    network = build(depth=depth)
    state = read_tensors([folder / "weights" / FILES[depth]])
    assert not network.load_state_dict(state, strict=False).unexpected_keys
    with gzip.open(folder / "cifar10_test_first100_lossless.csv.gz", "rt") as file:
        rows = np.loadtxt(file, delimiter=",")
    x = torch.from_numpy(rows[:, 1:].reshape(-1, 32, 32, 3) / 255).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        found = network.eval()(x).argmax(1).numpy()
    assert int((found == rows[:, 0]).sum()) == right
