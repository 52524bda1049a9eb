"""Small ReLU networks: architectures, and what is known of the released weights."""

import numpy as np
import pytest
import torch

from harness.config.manifest_file import load_manifest
from tests.support.modules import module
from tests.support.relu_nets import FOLDER, SPECS, left, load, right, source_of
from tests.support.sources import shared

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
    source = source_of(name)
    x, y = (np.load(shared("verified") / f"sdp_{source}_{part}.npy") for part in "Xy")
    images = torch.from_numpy(np.rint(255 * x).astype(np.uint8)).permute(0, 3, 1, 2) / 255
    return load(name), SPECS[source], images.contiguous(), torch.from_numpy(y)


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
    assert right(network, x, y).sum() == wanted


def attacked(name, folder, attack, variant=None):
    network, spec, x, y = released(name)
    return int(left(network, spec, (attack, variant), x, y, SDP[name][0], folder).sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, row in SDP.items() if row[2]])
def test_auto_pgd_is_as_strong_as_the_reference(name, tmp_path):
    found = attacked(name, tmp_path, "apgd")
    assert found == pytest.approx(200 * SDP[name][2], abs=2.1)
    assert found >= SDP[name][5]


@pytest.mark.slow
@pytest.mark.parametrize("name", SDP)
def test_targeted_auto_pgd_is_as_strong_as_the_reference(name, tmp_path):
    found = attacked(name, tmp_path, "apgd", "dlr-t")
    assert found == pytest.approx(200 * SDP[name][3], abs=2.1)
    assert found >= SDP[name][5]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sdp-mnist-adv", "sdp-cifar-mix4"])  # 40 s each; all were run
def test_fab_is_as_strong_as_the_reference(name, tmp_path):
    found = attacked(name, tmp_path, "fab")
    assert found == pytest.approx(200 * SDP[name][4], abs=2.1)
    assert found >= SDP[name][5]
