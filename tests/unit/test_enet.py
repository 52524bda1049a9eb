"""ENet: both forms, the loss, and the weights that exist, on the images they were made for."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from harness.judge.maps import confusion
from harness.judge.segmentation import segmentation
from harness.manifest import load_manifest
from harness.runtime import arrays
from harness.runtime.class_weights import class_weights
from harness.runtime.context import StageContext
from harness.runtime.contracts import Data, NotApplicable, Spec
from harness.runtime.loader import construct
from harness.runtime.miou import pooled_miou
from harness.runtime.model import LiveModel, freeze
from harness.runtime.unpooling import pool, unpool

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("GAUNTLET_SHARED", REPOSITORY.parent / "shared" / "data"))
CAMVID = SHARED / "camvid"
ENET = REPOSITORY / "victims" / "enet"
CPU = torch.device("cpu")
FORMS = ("published", "older")


def victim(variant=None, **params):
    manifest = load_manifest(ENET)
    resolved = manifest.resolve(variant, params)
    return construct(ENET, manifest.entry, "victim", list(manifest.hooks), resolved)


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
    module = victim(form=form)
    live = LiveModel(network, network, module, spec(), lambda: network, module.loss,
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


@pytest.mark.parametrize(
    ("params", "shape", "match"),
    [
        ({"form": "older"}, (3, 24, 44), "form: older needs a height and width divisible by 8, "
         "found 24x44; form: published takes any"),
        ({"form": "older"}, (3, 12, 40), "divisible by 8"),
        ({}, (3, 6, 40), "at least 7x7"),
        ({}, (16, 24, 40), "up to 15 channels"),
    ],
)  # fmt: skip
def test_what_it_cannot_take(params, shape, match):
    with pytest.raises(NotApplicable, match=match):
        victim(**params).build(Spec("segmentation", 11, shape, void=255))


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


# Pooling and its way back


@pytest.mark.parametrize("side", [2, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_unpooling_is_torch_s_on_one_core(side, layout):
    """Ties, too: the values are few, so that windows share their maxima."""
    torch.manual_seed(0)
    x = torch.randint(0, 4, (2, 3, 16, 24)).float().contiguous(memory_format=layout)
    values, places = pool(x, side)
    expected, index = F.max_pool2d(x, side, 2, side - 2, return_indices=True)
    assert torch.equal(values, expected)
    y = torch.randn_like(values)
    assert torch.equal(unpool(y, places), F.max_unpool2d(y, index, 2, 2, output_size=(16, 24)))
    flat = places.index.flatten(2)
    assert all(len(set(row.tolist())) == flat.shape[2] for image in flat for row in image)


def test_the_gradient_of_unpooling_is_that_of_what_it_does():
    """Torch's own counts a cell whose place another one took."""
    torch.manual_seed(0)
    _, places = pool(torch.randn(1, 2, 8, 8, dtype=torch.float64), 3)
    assert places.lost.any()
    y = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: unpool(y, places), y)


def test_pooling_refuses_what_would_write_twice():
    with pytest.raises(ValueError, match="windows of 3x3 on 7x8: 2, or 3 on even sides"):
        pool(torch.zeros(1, 1, 7, 8), 3)
    with pytest.raises(ValueError, match="windows of 4x4"):
        pool(torch.zeros(1, 1, 8, 8), 4)


# The loss


class Fixed(nn.Module):
    """Answers the same logits, whatever it sees."""

    def __init__(self, logits, weights):
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.register_buffer("class_weights", weights)

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
    module = victim()
    assert torch.equal(module.loss(Guard(network), x, y), module.loss(network, x, y))
    with pytest.raises(ValueError, match="no buffer class_weights"):
        module.loss(nn.Conv2d(3, 11, 1), x, y)


# Training


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["enet", "mfb", "none"])
def test_training_sets_class_weights_and_keeps_the_best_state(form, kind, tmp_path, capsys):
    module = victim(form=form, epochs=4, batch=2, lr=0.01, class_weights=kind, validate_every=1)
    train = data()
    torch.manual_seed(0)
    network = module.build(train.spec)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    module.fit(network, train, train, module.loss, context(tmp_path))
    expected = class_weights(kind, train.y, 3)
    assert torch.equal(network.head.class_weights, expected)
    assert not torch.equal(network.head.weight, before["head.weight"])
    points = curve(tmp_path)
    for name in ("loss", "val_loss", "val_miou"):
        assert [p["step"] for p in points if p["name"] == name] == [3, 6, 9, 12]
    best = max(p["value"] for p in points if p["name"] == "val_miou")
    assert pooled_miou(network.eval(), train, 2) == pytest.approx(best, abs=1e-9)
    assert "step 12 of 12, val_miou" in capsys.readouterr().out


def test_training_can_be_short_and_without_validation(tmp_path):
    module, train = victim(batch=2), data()
    nothing = Data(train.raw[:0], train.y[:0], train.ids[:0], train.spec, CPU)
    network = module.build(train.spec)
    module.fit(network, train, nothing, module.loss, context(tmp_path), steps=2)
    names = {p["name"] for p in curve(tmp_path)}
    assert names == {"loss"}


# Validation


@pytest.mark.parametrize("outputs", [4, 5])
def test_mean_iou_is_the_judge_s(outputs):
    """A predicted void is a miss; a class in neither labels nor predictions is left out."""
    torch.manual_seed(0)
    x = torch.rand(7, 3, 5, 6)
    y = torch.randint(0, 3, (7, 5, 6), dtype=torch.uint8)
    y[:, 0] = 255
    raw = (x * 255).to(torch.uint8)
    set_ = Data(raw, y, torch.arange(7), spec(5, 6, 4), CPU)
    network = nn.Conv2d(3, outputs, 1)
    with torch.no_grad():
        network.weight -= network.weight.mean(dim=1, keepdim=True)  # no class wins everywhere
        network.bias.zero_()[3] = -100
    maps = network(set_.x).argmax(1)
    judged = segmentation(confusion(maps.numpy(), y.numpy(), 4), None, draws=2)
    assert pooled_miou(network, set_, 3) == pytest.approx(judged.metrics["clean_miou"].value)
    assert (maps == 4).any() == (outputs == 5)


def test_mean_iou_of_void_alone_is_not_a_number():
    train = data()
    y = torch.full_like(train.y, 255)
    set_ = Data(train.raw, y, train.ids, train.spec, CPU)
    assert np.isnan(pooled_miou(nn.Conv2d(3, 3, 1), set_, 4))


# The weights that exist


def released():
    if not (CAMVID / "weights" / "ENet_default").is_file():
        pytest.skip(f"{CAMVID} has no weights: set GAUNTLET_SHARED to a folder that has them")
    return CAMVID / "weights" / "ENet_default"


def stand_in(path, change=lambda tensors: tensors):
    """A file of the released form, with random values."""
    module = victim("camvid-2018")
    network = module.build(spec())
    name = torch_name(module)
    tensors = {name(key): value for key, value in network.state_dict().items()
               if not key.endswith(("num_batches_tracked", "class_weights"))}  # fmt: skip
    torch.save(change(tensors), path)
    return path


def torch_name(module):
    return type(module).import_weights.__globals__["released_name"]


def test_import_takes_every_tensor(tmp_path):
    path, module = stand_in(tmp_path / "file"), victim("camvid-2018")
    state = module.import_weights(path)
    network = module.build(spec())
    network.load_state_dict(state, strict=True)
    name, file = torch_name(module), torch.load(path, weights_only=True)
    assert len(file) == 554
    for key, value in network.state_dict().items():
        if key == "head.class_weights":
            assert value.tolist() == [1.0] * 11
        elif key.endswith("num_batches_tracked"):
            assert value == 0
        else:
            assert torch.equal(value, file[name(key)])


def without(tensors):
    return {k: v for k, v in tensors.items() if k != "dilated2_2.ext_conv1.0.weight"}


def twice(tensors):
    return tensors | {"module.transposed_conv.weight": torch.zeros(1)}


def misshapen(tensors):
    return tensors | {"transposed_conv.weight": torch.zeros(16, 20, 3, 3)}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (without, r"1 tensors are missing.*dilated2_2\.ext_conv1\.0\.weight"),
        (twice, r"among them module\.transposed_conv\.weight"),
        (misshapen, r"1 tensors .* misshapen, among them transposed_conv\.weight"),
        (lambda tensors: {"state_dict": tensors}, "555 tensors are missing, unknown"),
        (lambda tensors: tensors | {"transposed_conv.weight": 1.0}, "1 tensors .* misshapen"),
        (lambda tensors: list(tensors.values()), "554 tensors are missing"),
    ],
)
def test_import_refuses_other_tensors(tmp_path, change, match):
    with pytest.raises(ValueError, match=match):
        victim("camvid-2018").import_weights(stand_in(tmp_path / "file", change))


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 torn", b"\x80\x02}.", b"some text", bytes(9)]
)
def test_import_refuses_other_files(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match="file is "):
        victim("camvid-2018").import_weights(tmp_path / "file")


def test_import_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    stand_in(tmp_path / "file", lambda tensors: tensors | {"extra": Evil()})
    with pytest.raises(ValueError, match="no checkpoint of tensors alone"):
        victim("camvid-2018").import_weights(tmp_path / "file")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("params", [{}, {"form": "older"}, {"void_output": True}])
def test_import_needs_the_form_of_the_file(tmp_path, params):
    with pytest.raises(ValueError, match="need form: older and void_output: true"):
        victim(**params).import_weights(stand_in(tmp_path / "file"))


def camvid_test():
    """The 59 test images of the subset: uint8 ``[59, 3, 360, 480]``, labels with void as 255."""
    pairs = {}
    with tarfile.open(CAMVID / "camvid_subset.tar.xz") as archive:
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            if folder in ("CamVid/test", "CamVid/testannot") and name.endswith(".png"):
                picture = Image.open(io.BytesIO(archive.extractfile(member).read()))
                pairs.setdefault(name, {})[folder] = np.array(picture)
    x = np.stack([pairs[name]["CamVid/test"].transpose(2, 0, 1) for name in sorted(pairs)])
    y = np.stack([pairs[name]["CamVid/testannot"] for name in sorted(pairs)])
    return torch.from_numpy(x), np.where(y == 11, 255, y)


def test_the_released_weights_reach_on_camvid_what_they_did():
    """Measured with the source's own code: mIoU .5352, pixel accuracy .8575."""
    path, module = released(), victim("camvid-2018")
    x, y = camvid_test()
    assert len(x) == 59
    network = module.build(spec(360, 480))
    network.load_state_dict(module.import_weights(path), strict=True)
    network.eval()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            maps = torch.cat([network(part.float() / 255).argmax(1).byte() for part in x.split(4)])
    finally:
        torch.set_num_threads(threads)
    found = segmentation(confusion(maps.numpy(), y, 11), None, draws=2).metrics
    assert found["clean_miou"].value == pytest.approx(0.5352, abs=0.001)
    assert found["clean_pixel_accuracy"].value == pytest.approx(0.8575, abs=0.001)
