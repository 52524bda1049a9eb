"""CIFAR-10 and Fashion-MNIST: sets of small labelled images."""

from __future__ import annotations

from harness.datasets.base import Card
from harness.datasets.classification.binary_files import read_cifar_batches, read_idx_files
from harness.datasets.classification.class_folders import read_class_folders
from harness.datasets.classification.layouts import ImageSetLayout
from harness.datasets.classification.source import TorchvisionSource, make_dataset

_FOLDERS = "train/<class>/*.png or *.jpg and test/<class>/… (also inside .tar.* archives)"

CIFAR10 = TorchvisionSource(
    layout=ImageSetLayout(
        name="cifar10",
        classes=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        channels=3,
        side=32,
    ),
    version=1,
    torchvision="CIFAR10",
    readers=(read_cifar_batches, read_class_folders),
    accepted=f"cifar-10-batches-py/, cifar-10-python.tar.gz, or {_FOLDERS}",
)
FASHION_MNIST = TorchvisionSource(
    layout=ImageSetLayout(
        name="fashion-mnist",
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        channels=1,
        side=28,
    ),
    version=1,
    torchvision="FashionMNIST",
    readers=(read_idx_files, read_class_folders),
    accepted=f"the four IDX files (.gz), FashionMNIST/raw/, or {_FOLDERS}",
)
SOURCES = {source.layout.name: source for source in (CIFAR10, FASHION_MNIST)}
CACHE_ENTRIES = {name: source.cache_entry for name, source in SOURCES.items()}


DATASETS = (
    make_dataset(
        CIFAR10,
        Card(
            title="CIFAR-10",
            license="none stated by its authors; they ask to be cited",
            citation=(
                "A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images. "
                "Technical report, University of Toronto, 2009."
            ),
            source="https://www.cs.toronto.edu/~kriz/cifar.html, downloaded by torchvision",
            size="45,000 train, 5,000 validation, 10,000 test; 32x32 RGB, 10 classes",
            note="Copies in JPEG are lossy; manifest.json says what was read.",
        ),
        (45_000, 5_000, 10_000),
    ),
    make_dataset(
        FASHION_MNIST,
        Card(
            title="Fashion-MNIST",
            license="MIT",
            citation=(
                "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a Novel Image Dataset for "
                "Benchmarking Machine Learning Algorithms. arXiv:1708.07747, 2017."
            ),
            source="https://github.com/zalandoresearch/fashion-mnist, downloaded by torchvision",
            size="54,000 train, 6,000 validation, 10,000 test; 28x28 grey, 10 classes",
        ),
        (54_000, 6_000, 10_000),
    ),
)
