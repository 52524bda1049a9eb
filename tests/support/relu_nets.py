"""Small released ReLU networks, and the images on which something is known of them."""

import gzip
from pathlib import Path

import numpy as np
import torch

from harness.config.manifest_file import load_manifest
from harness.runtime.contracts import Budget, Spec
from harness.runtime.model import freeze
from harness.runtime.weight_files import read_tensors
from tests.support.modules import ROOT, context, live, module
from tests.support.sources import shared

FOLDER = ROOT / "victims" / "relu-net"
MNIST = Spec("classification", 10, (1, 28, 28))
SPECS = {"mnist": MNIST, "cifar": Spec("classification", 10, (3, 32, 32))}
AUTOATTACK = (("apgd", None), ("apgd", "dlr-t"), ("fab", None), ("square", "5000"))
"""The standard version, in its order."""


def source_of(name):
    return "cifar" if "cifar" in name or "resnet" in name else "mnist"


def load(name):
    """The network of an entry of ``weights``."""
    entry = load_manifest(FOLDER).weights[name]
    victim = module("victim", "relu-net", entry.variant)
    network = victim.build(SPECS[source_of(name)])
    files = [shared("verified") / file for file in entry.digests]
    network.load_state_dict(victim.import_weights(read_tensors(files)))
    return freeze(network)


def idx_images(folder):
    """All test images of a folder of IDX files, and their classes."""
    images, labels = (
        np.frombuffer(gzip.decompress((shared(folder) / name).read_bytes()), np.uint8, offset=skip)
        for name, skip in (("t10k-images-idx3-ubyte.gz", 16), ("t10k-labels-idx1-ubyte.gz", 8))
    )
    x = images.reshape(-1, *MNIST.shape)
    return torch.from_numpy(x / np.float32(255)), torch.from_numpy(labels.astype(np.int64))


def kw_mnist(count):
    """The network of Wong and Kolter (2018), and the first test images with their labels."""
    x, y = idx_images("mnist")
    return load("kw-mnist"), x[:count], y[:count]


def right(network, x, y):
    """Where the network is right: bool ``[N]``."""
    with torch.no_grad():
        return network(x).argmax(1) == y


def left(network, spec, attack, x, y, eps, folder: Path, **params):
    """The rows that an attack leaves right: bool ``[N]``; what it returns must be in its ball."""
    name, variant = attack
    budget = Budget(norm="linf", eps=eps)
    found = module("attack", name, variant, **params).perturb(
        live(network, spec), x.clone(), y, None, budget, context(folder, spec)
    )
    assert (found - x).abs().max() <= eps + 1e-6
    return right(network, found, y)


def handed_over(network, spec, attacks, x, y, eps, folder):
    """The number of images that attacks leave, each run on what the ones before have left."""
    for attack in attacks:
        still = left(network, spec, attack, x, y, eps, folder)
        x, y = x[still], y[still]
    return len(y)
