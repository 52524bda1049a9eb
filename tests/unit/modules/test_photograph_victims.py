"""Victims for photographs: torchvision's networks to the bit, stages, released weights."""

import io
import pickle
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models

from harness.runtime.contracts import ContractError, Spec
from harness.runtime.model import capture
from harness.runtime.weight_files import read_tensors
from harness.runtime.worker.state_form import StateForm
from tests.support.modules import module
from tests.support.sources import shared

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def spec(outputs, side=224):
    return Spec("classification", outputs, (3, side, side))


def count(network):
    return sum(p.numel() for p in network.parameters())


def kernels(network):
    """Entries of all convolution kernels: the weights that magnitude pruning ranks."""
    return sum(m.weight.numel() for m in network.modules() if isinstance(m, nn.Conv2d))


def pictures(side=64):
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def answers(network, x):
    with torch.no_grad():
        return network.eval()(x)


def trained(network):
    """A network whose batch norms are no identities, as after a training."""
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for value in (layer.weight.data, layer.running_var):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            for value in (layer.bias.data, layer.running_mean):
                value.copy_(torch.randn(value.shape, generator=generator) / 10)
    return network


SIZES = [
    ("resnet", None, 11_689_512, 11_166_912),
    ("resnet", "resnet-50", 25_557_032, 23_454_912),
    ("resnet", "resnet-101", 44_549_160, 42_394_816),
    ("mobilenet-v2", None, 3_504_872, 2_189_760),
    ("squeezenet", "released", 1_248_424, 1_244_448),
    ("squeezenet", None, 1_248_424, 732_448),
    ("vggface-resnet50", None, 25_557_032, 23_454_912),
]


@pytest.mark.parametrize(("name", "variant", "parameters", "entries"), SIZES)
def test_parameters_of_a_thousand_classes(name, variant, parameters, entries):
    with torch.device("meta"):
        network = module("victim", name, variant).build(spec(1000))
    assert (count(network), kernels(network)) == (parameters, entries)


TWINS = [
    ("resnet", None, models.resnet18),
    ("resnet", "resnet-50", models.resnet50),
    ("mobilenet-v2", None, models.mobilenet_v2),
]


@pytest.mark.parametrize(("name", "variant", "twin"), TWINS)
def test_torchvision_weights_give_torchvision_outputs(name, variant, twin):
    victim, other = module("victim", name, variant), trained(twin(num_classes=7))
    network, state = victim.build(spec(7)), other.state_dict()
    if hasattr(victim, "import_weights"):
        state = victim.import_weights(state)
    network.load_state_dict(state, strict=True)
    x = pictures()
    normalised = (x - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)
    assert torch.equal(answers(network, x), answers(other, normalised))


RESNET = [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
STAGES = [
    ("resnet", None, [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)], 512),
    ("resnet", "resnet-50", RESNET, 2048),
    ("mobilenet-v2", None,
     [(24, 56, 56), (32, 28, 28), (64, 14, 14), (160, 7, 7), (1280, 7, 7)], 1280),
    ("squeezenet", None, [(96, 109, 109), (256, 54, 54), (512, 27, 27), (512, 13, 13)], 512),
    ("vggface-resnet50", None, RESNET, 2048),
]  # fmt: skip


@pytest.mark.parametrize(("name", "variant", "maps", "features"), STAGES)
def test_stage_maps_and_features_of_224_pixels(name, variant, maps, features):
    victim = module("victim", name, variant)
    network, x = victim.build(spec(5)), pictures(224)[:1]
    with (
        capture(network, victim.stages, inputs=False) as seen,
        capture(network, (victim.head,), inputs=True) as inputs,
    ):
        logits = answers(network, x)
    assert [tuple(one.shape[1:]) for one in seen] == maps
    assert (logits.shape, inputs[0].shape) == ((1, 5), (1, features))
    if name != "mobilenet-v2":  # its stages end in a linear layer, but for the last
        assert all(bool((one >= 0).all()) for one in seen)


@pytest.mark.parametrize("name", ["resnet", "mobilenet-v2", "squeezenet", "vggface-resnet50"])
def test_the_smallest_picture_that_the_manifest_allows(name):
    network = module("victim", name).build(spec(3, 32))
    assert answers(network, pictures(32)).shape == (2, 3)


@pytest.mark.parametrize("name", ["resnet", "mobilenet-v2", "squeezenet", "vggface-resnet50"])
def test_the_recipe_is_that_of_published_fine_tuning(name):
    victim = module("victim", name)
    recipe = victim.recipe(None)
    found = (recipe.batch, recipe.lr, recipe.momentum, recipe.weight_decay, recipe.linear_decay)
    assert found == (64, 5e-3, 0, 1e-4, 1e-2)
    assert (recipe.head, recipe.head_lr, recipe.schedule) == (victim.head, 10, "cosine")
    assert (recipe.selection, recipe.average) == (None, None)


WRONG = [
    ("resnet", None, models.resnet50, r"layer1\.0\.bn3\.bias is not among them"),
    ("resnet", None, lambda **k: models.resnet18(num_classes=9),
     r"fc\.bias has shape \[9\] and not \[7\], fc\.weight has shape \[9, 512\] and not \[7, 512\]"),
    ("resnet", "resnet-50", models.wide_resnet50_2,
     r"layer1\.0\.bn1\.bias has shape \[128\] and not \[64\].* and 173 more"),
    ("mobilenet-v2", None, models.resnet18, r"bn1\.bias is not among them"),
    ("squeezenet", "released", models.squeezenet1_1, r"classifier\.1\.bias is not among them"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "variant", "twin", "said"), WRONG)
def test_weights_of_another_network_are_named(name, variant, twin, said):
    victim = module("victim", name, variant)
    with torch.device("meta"):
        state = twin(num_classes=7).state_dict()
        network = victim.build(spec(7))
    if hasattr(victim, "import_weights"):
        state = victim.import_weights(state)
    with pytest.raises(ContractError, match=said):
        StateForm.of(network).check(state, "import_weights")


class CaffeBottleneck(nn.Module):
    """The block of the face network, written out: the stride lies on the first convolution."""

    def __init__(self, state, name, stride):
        super().__init__()
        self.state, self.name, self.stride = state, name, stride

    def part(self, x, conv, norm, stride=1, padding=0):
        x = nn.functional.conv2d(x, self.state[f"{self.name}.{conv}.weight"], None, stride, padding)
        return batch_norm(x, self.state, f"{self.name}.{norm}")

    def forward(self, x):
        out = self.part(x, "conv1", "bn1", self.stride).relu()
        out = self.part(out, "conv2", "bn2", padding=1).relu()
        out = self.part(out, "conv3", "bn3")
        if f"{self.name}.downsample.0.weight" in self.state:
            x = self.part(x, "downsample.0", "downsample.1", self.stride)
        return (out + x).relu()


def batch_norm(x, state, name):
    values = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return nn.functional.batch_norm(x, *values)


def caffe_resnet(state, x):
    """The face network on BGR pictures from 0 to 255 without their means, by the released names."""
    x = nn.functional.conv2d(x, state["conv1.weight"], None, 2, 3)
    x = nn.functional.max_pool2d(batch_norm(x, state, "bn1").relu(), 3, 2, 0, ceil_mode=True)
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            x = CaffeBottleneck(state, f"layer{stage}.{block}", stride)(x)
    pooled = nn.functional.avg_pool2d(x, 7).flatten(1)
    return nn.functional.linear(pooled, state["fc.weight"], state["fc.bias"])


def test_the_pickled_face_network_is_copied_exactly_and_computes_as_in_caffe(tmp_path):
    victim = module("victim", "vggface-resnet50")
    made = trained(victim.build(spec(8631)))
    arrays = {name: value.numpy() for name, value in made.state_dict().items()
              if not name.endswith("num_batches_tracked")}  # fmt: skip
    path = tmp_path / "resnet50_ft_weight.pkl"
    path.write_bytes(pickle.dumps(arrays))
    state = read_tensors([path])
    assert state.keys() == arrays.keys()
    assert all(np.array_equal(state[name].numpy(), arrays[name]) for name in arrays)
    network = victim.build(spec(8631))
    missing, extra = network.load_state_dict(state, strict=False)
    assert not extra
    assert all(name.endswith("num_batches_tracked") for name in missing)
    x = pictures(224)[:1]
    means = torch.tensor([91.4953, 103.8827, 131.0912]).view(3, 1, 1)
    bgr = 255 * x[:, [2, 1, 0]] - means
    found = answers(network, x)
    scale = found.abs().max()
    assert (found - caffe_resnet(state, bgr)).abs().max() < 1e-4 * scale
    other = models.resnet50(num_classes=8631)
    other.load_state_dict(state, strict=False)
    assert (found - answers(other, bgr)).abs().max() > 1e-2 * scale


def test_the_released_squeezenet_averages_a_rectified_map_with_a_border():
    victim, other = module("victim", "squeezenet", "released"), models.squeezenet1_0(num_classes=7)
    other.classifier[1] = nn.Conv2d(512, 7, 1, padding=1)
    trained(other)
    state = {name.replace("classifier.1.", "head."): v for name, v in other.state_dict().items()}
    network = victim.build(spec(7))
    network.load_state_dict(state, strict=True)
    x = pictures()
    means = torch.tensor([104.0, 117.0, 123.0]).view(3, 1, 1)
    found, expected = answers(network, x), answers(other, 255 * x[:, [2, 1, 0]] - means)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def birds(name, count=40):
    """The first pictures of a kind of bird, 227x227, as they are stored."""
    with tarfile.open(shared("cub_subset") / "cub_20class_subset.tar.xz") as archive:
        members = sorted((m for m in archive.getmembers() if f"/images/{name}/" in m.name),
                         key=lambda m: m.name)  # fmt: skip
        files = [archive.extractfile(member).read() for member in members[:count]]
    images = [np.array(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bird", "label", "share"),
    [("American_Goldfinch", 11, 0.9), ("Indigo_Bunting", 14, 0.85), ("Brown_Pelican", 144, 0.7)],
)
def test_the_released_squeezenet_knows_birds(bird, label, share):
    """Measured with all pictures when the weights were decoded: .97, .93 and .83."""
    victim = module("victim", "squeezenet", "released")
    network = victim.build(spec(1000, 227))
    path = shared("squeezenet_imagenet") / "squeezenet1_0_decoded.npz"
    network.load_state_dict(victim.import_weights(read_tensors([path])), strict=True)
    x = birds(bird)
    assert (answers(network, x).argmax(1) == label).float().mean() >= share
    if bird == "American_Goldfinch":  # the same weights without the order of channels
        assert (answers(network, x.flip(1)).argmax(1) == label).float().mean() <= 0.2
