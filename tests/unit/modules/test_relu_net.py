"""Small ReLU networks: architectures, and what is known of the released weights."""

import gzip

import numpy as np
import pytest
import torch

from harness.config.manifest_file import load_manifest
from harness.judge.attack_flags import another_loss_does_better
from harness.runtime.contracts import Budget, Spec
from harness.runtime.model import freeze
from harness.runtime.weight_files import read_tensors
from tests.support.modules import ROOT, context, live, module
from tests.support.sources import shared

FOLDER = ROOT / "victims" / "relu-net"
SPECS = {
    "mnist": Spec("classification", 10, (1, 28, 28)),
    "cifar": Spec("classification", 10, (3, 32, 32)),
}
PARAMETERS = {
    None: ("mnist", 166_406),
    "cnn-a-wrn": ("cifar", 214_918),
    "tiny": ("mnist", 52_506),
    "mlp": ("mnist", 397_510),
    "resnet-2b": ("cifar", 112_006),
    "resnet-4b": ("cifar", 123_734),
}
"""Variant → data, and number of parameters of the released networks."""
SDP = {
    "sdp-cifar-adv": (2 / 255, 140, 0.520, 0.500, 0.505, 97),
    "sdp-cifar-adv4": (2 / 255, 115, 0.525, 0.495, 0.495, 97),
    "sdp-cifar-mix": (2 / 255, 158, 0.550, 0.530, 0.535, 96),
    "sdp-cifar-mix4": (2 / 255, 149, 0.595, 0.575, 0.575, 113),
    "sdp-mnist-adv": (0.3, 195, None, 0.780, 0.785, 152),
}
"""Weights → radius, right of 200 images, robust accuracy under APGD with cross entropy, under
targeted APGD and under FAB-T by the reference implementation, and images that are proven robust."""


def released(name):
    """The network of an entry of ``weights``, and the images that its authors proved it on."""
    entry = load_manifest(FOLDER).weights[name]
    victim = module("victim", "relu-net", entry.variant)
    source = "cifar" if "cifar" in name or "resnet" in name else "mnist"
    network = victim.build(SPECS[source])
    files = [shared("verified") / file for file in entry.digests]
    network.load_state_dict(victim.import_weights(read_tensors(files)))
    x, y = (np.load(shared("verified") / f"sdp_{source}_{part}.npy") for part in "Xy")
    images = torch.from_numpy(np.rint(255 * x).astype(np.uint8)).permute(0, 3, 1, 2) / 255
    return freeze(network), SPECS[source], images.contiguous(), torch.from_numpy(y)


def right(network, x, y):
    with torch.no_grad():
        return int((network(x).argmax(1) == y).sum())


@pytest.mark.parametrize("variant", PARAMETERS)
def test_networks_have_the_released_number_of_parameters(variant):
    source, wanted = PARAMETERS[variant]
    victim = module("victim", "relu-net", variant)
    network = victim.build(SPECS[source])
    assert sum(one.numel() for one in network.parameters()) == wanted
    names = dict(network.named_modules())
    assert {victim.head, *victim.stages} <= names.keys()
    assert network(torch.rand(2, *SPECS[source].shape)).shape == (2, 10)


def test_every_variant_of_weights_is_counted():
    entries = load_manifest(FOLDER).weights.values()
    assert {entry.variant for entry in entries} == set(PARAMETERS)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        *((name, row[1]) for name, row in SDP.items()),
        *[("kw-mnist", 197), ("wk17a", 198), ("rsl18a", 196), ("madry-tiny", 197)],
        *[("vnn21-resnet2b", 148), ("vnn21-resnet4b", 169)],
    ],
)
def test_a_released_network_is_right_as_often_as_was_measured(name, wanted):
    network, _, x, y = released(name)
    assert right(network, x, y) == wanted


def attacked(name, folder, attack, variant=None, **params):
    network, spec, x, y = released(name)
    budget = Budget(norm="linf", eps=SDP[name][0])
    found = module("attack", attack, variant, **params).perturb(
        live(network, spec), x.clone(), y, None, budget, context(folder, spec)
    )
    assert (found - x).abs().max() <= budget.eps + 1e-6
    return right(network, found, y)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, row in SDP.items() if row[2]])
def test_auto_pgd_is_as_strong_as_the_reference(name, tmp_path):
    left = attacked(name, tmp_path, "apgd")
    assert left == pytest.approx(200 * SDP[name][2], abs=2.1)
    assert left >= SDP[name][5]


@pytest.mark.slow
@pytest.mark.parametrize("name", SDP)
def test_targeted_auto_pgd_is_as_strong_as_the_reference(name, tmp_path):
    left = attacked(name, tmp_path, "apgd", "dlr-t")
    assert left == pytest.approx(200 * SDP[name][3], abs=2.1)
    assert left >= SDP[name][5]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sdp-mnist-adv", "sdp-cifar-mix4"])  # 40 s each; all were run
def test_fab_is_as_strong_as_the_reference(name, tmp_path):
    left = attacked(name, tmp_path, "fab")
    assert left == pytest.approx(200 * SDP[name][4], abs=2.1)
    assert left >= SDP[name][5]


@pytest.fixture(scope="module")
def digits():
    """All test images of MNIST and their classes."""
    parts = ("images-idx3", "labels-idx1")
    files = (shared("mnist") / f"t10k-{part}-ubyte.gz" for part in parts)
    raw = [gzip.decompress(file.read_bytes()) for file in files]
    x = np.frombuffer(raw[0], np.uint8, offset=16).reshape(-1, 1, 28, 28)
    y = np.frombuffer(raw[1], np.uint8, offset=8).astype(np.int64)
    return torch.from_numpy(x / np.float32(255)), torch.from_numpy(y)


def errors(network, spec, attack, variant, x, y, eps, folder, **params):
    given = (live(network, spec), x, y, None, Budget(norm="linf", eps=eps), context(folder, spec))
    found = module("attack", attack, variant, **params).perturb(*given)
    return len(y) - right(network, found, y)


@pytest.mark.slow
def test_the_network_on_which_cross_entropy_misleads(digits, tmp_path):
    """1,147 of 10,000 by the reference's PGD of 40 steps, and 1,430 by margins; a flag says so."""
    network, spec, *_ = released("rsl18a")
    x, y = digits
    assert len(y) - right(network, x, y) == 418
    assert errors(network, spec, "pgd", "pgd-40", x, y, 0.1, tmp_path) == pytest.approx(
        1147, abs=15
    )
    few = x[:2000], y[:2000]
    clean = 2000 - right(network, *few)
    success = [
        (errors(network, spec, "apgd", variant, *few, 0.1, tmp_path, steps=50) - clean)
        / (2000 - clean)
        for variant in (None, "dlr")
    ]
    flag = another_loss_does_better(success=success[0], other=success[1], name="apgd/dlr")
    assert flag is not None
    assert flag.name == "another_loss_does_better"
