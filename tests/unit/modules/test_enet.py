"""ENet: both forms, the loss, and the weights that exist, on the images they were made for."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.runtime.class_weights import class_weights
from harness.runtime.contracts import Data, NotApplicable, Spec
from harness.runtime.miou import pooled_miou
from harness.runtime.model import LiveModel, freeze
from harness.runtime.worker import arrays
from harness.runtime.worker.context import StageContext
from tests.support.modules import module

REPOSITORY = Path(__file__).resolve().parents[3]
ENET = REPOSITORY / "victims" / "enet"
CPU = torch.device("cpu")
FORMS = ("published", "older")


def victim(variant=None, **params):
    return module("victim", "enet", variant, **params)


def spec(height=24, width=40, classes=11, channels=3):
    return Spec("segmentation", classes, (channels, height, width), void=255)


def build(height=24, width=40, classes=11, channels=3, **params):
    torch.manual_seed(0)
    return victim(**params).build(spec(height, width, classes, channels))


def data(count=6, height=16, width=24, classes=3):
    torch.manual_seed(3)
    raw = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)
    y = (raw[:, 0] // 86).clamp_max(classes - 1)
    y[:, :2] = 255
    return Data(raw, y, torch.arange(count), spec(height, width, classes), CPU)


def context(folder):
    (folder / "checkpoint").mkdir(parents=True)
    return StageContext(
        device=CPU, spec=spec(), seed_root=[0, "train"], deadline=1e12, scratch=folder,
        state=folder, checkpoint=folder / "checkpoint", curves=folder / "curves.jsonl",
    )  # fmt: skip


def curve(folder):
    return [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]


# The network


@pytest.mark.parametrize(
    ("params", "classes", "expected"),
    [
        ({}, 11, 350_508),
        ({}, 12, 350_652),
        ({}, 20, 351_804),
        ({"void_output": True}, 11, 350_652),
        ({"form": "older"}, 12, 359_780),
        ({"form": "older", "void_output": True}, 11, 359_780),
    ],
)
def test_parameters(params, classes, expected):
    network = build(classes=classes, **params)
    assert sum(p.numel() for p in network.parameters()) == expected


@pytest.mark.slow
@pytest.mark.parametrize("size", [(24, 40), (45, 61), (30, 7), (17, 18), (22, 21)])
@pytest.mark.parametrize("training", [True, False])
def test_published_takes_any_size(size, training):
    network = build(*size).train(training)
    x = torch.rand(2, 3, *size, requires_grad=True)
    logits = network(x)
    assert logits.shape == (2, 11, *size)
    (gradient,) = torch.autograd.grad(logits.square().mean(), x)
    assert torch.isfinite(gradient).all()
    assert (gradient != 0).any()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_outputs_and_stages(form, channels):
    network = build(channels=channels, form=form, void_output=True).eval()
    x = torch.rand(2, channels, 24, 40)
    assert network(x).shape == (2, 12, 24, 40)
    enet = victim(form=form)
    live = LiveModel(network, network, enet, spec(), lambda: network, enet.loss,
                     ["features", "maps"])  # fmt: skip
    assert [tuple(m.shape[1:]) for m in live.maps(x)] == [
        (16, 12, 20), (64, 6, 10), (128, 3, 5), (128, 3, 5)
    ]  # fmt: skip
    assert live.features(x).shape == (2, 16 * 12 * 20)


@pytest.mark.parametrize("form", FORMS)
def test_training_drops_out_and_moves_statistics_and_evaluation_does_neither(form):
    network, x = build(form=form), torch.rand(2, 3, 24, 40)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    network.eval()
    assert torch.equal(network(x), network(x))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    network.train()
    assert not torch.equal(network(x), network(x))
    assert not torch.equal(network.initial.norm.running_mean, before["initial.norm.running_mean"])


def test_it_takes_up_to_fifteen_channels():
    with pytest.raises(NotApplicable, match="up to 15 channels"):
        victim().build(Spec("segmentation", 11, (16, 24, 40), void=255))


@pytest.mark.parametrize("form", FORMS)
def test_weights_come_back_from_their_file(form, tmp_path):
    network = build(form=form)
    network.head.class_weights.copy_(torch.arange(11.0))
    arrays.save_weights(tmp_path / "network.safetensors", freeze(network))
    again = build(form=form)
    arrays.load_weights(tmp_path / "network.safetensors", again)
    assert again.head.class_weights.tolist() == list(range(11))
    x = torch.rand(1, 3, 24, 40)
    assert torch.equal(freeze(again)(x), network(x))


# The loss


class Fixed(nn.Module):
    """Answers the same logits, whatever it sees."""

    def __init__(self, logits, weights):
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.register_buffer("class_weights", weights)
        self.void = 255

    def forward(self, x):
        return self.logits


@pytest.mark.parametrize("outputs", [3, 4])
def test_the_mean_of_the_loss_is_the_weighted_mean_over_labelled_pixels(outputs):
    torch.manual_seed(0)
    logits, weights = torch.randn(4, outputs, 5, 6), torch.tensor([0.5, 2.0, 7.0])
    y = torch.randint(0, 3, (4, 5, 6), dtype=torch.uint8)
    y[0, :3], y[1] = 255, 255
    rows = victim().loss(Fixed(logits, weights), torch.rand(4, 3, 5, 6), y)
    expected = F.cross_entropy(
        logits, y.long(), weight=F.pad(weights, (0, outputs - 3)), ignore_index=255
    )
    assert rows.shape == (4,)
    assert rows[1] == 0
    assert rows.mean().item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_batch_of_void_alone_costs_nothing():
    network = Fixed(torch.randn(2, 3, 5, 6), torch.ones(3))
    y = torch.full((2, 5, 6), 255, dtype=torch.uint8)
    loss = victim().loss(network, torch.rand(2, 3, 5, 6), y)
    (gradient,) = torch.autograd.grad(loss.sum(), network.logits)
    assert loss.tolist() == [0, 0]
    assert not gradient.any()


def test_a_new_network_weighs_all_classes_alike():
    network, x = build().eval(), torch.rand(2, 3, 24, 40)
    y = torch.randint(0, 11, (2, 24, 40), dtype=torch.uint8)
    found = victim().loss(network, x, y).mean()
    assert found.item() == pytest.approx(F.cross_entropy(network(x), y.long()).item(), rel=1e-6)


def test_the_loss_finds_the_weights_behind_a_guard():
    class Guard(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, x):
            return self.network(x)

    network, x = build().eval(), torch.rand(2, 3, 24, 40)
    network.head.class_weights.copy_(torch.arange(1.0, 12.0))
    y = torch.randint(0, 11, (2, 24, 40), dtype=torch.uint8)
    enet = victim()
    assert torch.equal(enet.loss(Guard(network), x, y), enet.loss(network, x, y))
    with pytest.raises(ValueError, match="no buffer class_weights"):
        enet.loss(nn.Conv2d(3, 11, 1), x, y)


# Training


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["enet", "mfb", "none"])
def test_training_sets_class_weights_and_keeps_the_best_state(form, kind, tmp_path, capsys):
    enet = victim(form=form, epochs=4, batch=2, lr=0.01, class_weights=kind, validate_every=1)
    train = data()
    torch.manual_seed(0)
    network = enet.build(train.spec)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    enet.fit(network, train, train, enet.loss, context(tmp_path))
    expected = class_weights(kind, train.y, 3, train.spec.void)
    assert torch.equal(network.head.class_weights, expected)
    assert not torch.equal(network.head.weight, before["head.weight"])
    points = curve(tmp_path)
    for name in ("loss", "val_loss", "val_miou"):
        assert [p["step"] for p in points if p["name"] == name] == [3, 6, 9, 12]
    best = max(p["value"] for p in points if p["name"] == "val_miou")
    assert pooled_miou(network.eval(), train, 2) == pytest.approx(best, abs=1e-9)
    assert "step 12 of 12, val_miou" in capsys.readouterr().out


def test_training_can_be_short_and_without_validation(tmp_path):
    enet, train = victim(batch=2), data()
    nothing = Data(train.raw[:0], train.y[:0], train.ids[:0], train.spec, CPU)
    network = enet.build(train.spec)
    recipe = replace(enet.recipe(train), steps=2)
    enet.fit(network, train, nothing, enet.loss, context(tmp_path), recipe)
    names = {p["name"] for p in curve(tmp_path)}
    assert names == {"loss"}
