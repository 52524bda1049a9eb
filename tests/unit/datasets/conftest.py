"""Fixtures of several test modules."""

import pytest

from tests.support.small_images import cifar_batches, md5


@pytest.fixture
def trusted_cifar(monkeypatch):
    """Teach torchvision the MD5 sums of the CIFAR-10 made here."""
    from torchvision.datasets import CIFAR10

    files = cifar_batches()
    sums = {name.split("/")[1]: md5(blob) for name, blob in files.items()}
    batches = [[f"data_batch_{k}", sums[f"data_batch_{k}"]] for k in range(1, 6)]
    monkeypatch.setattr(CIFAR10, "train_list", batches)
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return files
