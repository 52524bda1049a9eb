"""The released network of Wong and Kolter (2018) on MNIST, with test images."""

import gzip

import numpy as np
import torch

from harness.config.manifest_file import load_manifest
from harness.runtime.contracts import Spec
from harness.runtime.model import freeze
from harness.runtime.weight_files import read_tensors
from tests.support.modules import ROOT, module
from tests.support.sources import shared

SPEC = Spec("classification", 10, (1, 28, 28))


def kw_mnist(count):
    """The network, and the first test images with their labels."""
    victim = module("victim", "relu-net")
    network = victim.build(SPEC)
    entry = load_manifest(ROOT / "victims" / "relu-net").weights["kw-mnist"]
    files = [shared("verified") / file for file in entry.digests]
    network.load_state_dict(victim.import_weights(read_tensors(files)))
    images, labels = (
        np.frombuffer(gzip.decompress((shared("mnist") / name).read_bytes()), np.uint8, offset=skip)
        for name, skip in (("t10k-images-idx3-ubyte.gz", 16), ("t10k-labels-idx1-ubyte.gz", 8))
    )
    x = torch.from_numpy(images[: count * 784].reshape(count, *SPEC.shape).copy()) / 255
    return freeze(network), x, torch.from_numpy(labels[:count].astype(np.int64))
