"""CIFAR-10 and Fashion-MNIST: a broken source is one clear line, and nothing escapes an archive."""

from __future__ import annotations

import gzip
import tarfile

import numpy as np
import pytest

from harness.common.errors import UserError
from tests.support.small_images import (
    assert_true_to_source,
    encoded,
    idx_bytes,
    idx_files,
    image_files,
)
from tests.support.sources import fetch, write_folder, write_tar


def broken_sources() -> dict[str, tuple[str, dict[str, bytes], str]]:
    """Case → data set, its broken files, what the message says."""
    cifar, fashion = image_files("cifar10", "png"), idx_files()
    images, labels = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
    large = encoded("fashion-mnist", "train", 0, "png")
    cut = gzip.compress(gzip.decompress(fashion[images])[:-1])
    train_only = {name: blob for name, blob in cifar.items() if name.startswith("train")}
    return {
        "empty": ("cifar10", {"readme.txt": b""}, "nothing in it is cifar10"),
        "no test": ("cifar10", train_only, "has no test/"),
        "class": ("cifar10", {"train/airplan/0.png": b""}, 'did you mean "airplane"'),
        "size": ("cifar10", cifar | {"test/cat/x.png": large}, "is 28x28 pixels"),
        "no image": ("cifar10", cifar | {"test/cat/x.png": b"GIF89a"}, "not a whole PNG or JPEG"),
        "cut image": (
            "cifar10",
            cifar | {"test/cat/x.png": cifar["test/0/0000.png"][:60]},
            "not a whole PNG or JPEG",
        ),
        "archive": ("cifar10", {"a.tar.xz": b"no archive"}, "cannot be read"),
        "batches": ("cifar10", {"cifar-10-python.tar.gz": b"no archive"}, "cannot be read"),
        "gzip": ("fashion-mnist", fashion | {images: b"\x1f\x8bxx"}, "cannot be read"),
        "cut gzip": ("fashion-mnist", fashion | {images: fashion[images][:-9]}, "cannot be read"),
        "cut idx": ("fashion-mnist", fashion | {images: cut}, "are there"),
        "no head": ("fashion-mnist", fashion | {labels: gzip.compress(b"\0\0\x08\1")}, "are there"),
        "no idx": ("fashion-mnist", fashion | {labels: gzip.compress(b"hello")}, "not an IDX file"),
        "labels": (
            "fashion-mnist",
            fashion | {labels: gzip.compress(idx_bytes(np.zeros(19)))},
            "20 images, but 19 labels",
        ),
        "label": (
            "fashion-mnist",
            fashion | {labels: gzip.compress(idx_bytes(np.full(20, 10)))},
            "label 10 of 10 classes",
        ),
        "missing": ("fashion-mnist", {images: fashion[images]}, "has no train-labels-idx1-ubyte"),
    }


@pytest.mark.parametrize("case", broken_sources())
def test_broken_source_is_one_clear_line(case, tmp_path):
    name, files, says = broken_sources()[case]
    source = write_folder(tmp_path / "source", files)
    with pytest.raises(UserError, match=says) as caught:
        fetch(name, tmp_path / "root", source)
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "root").iterdir()) == []


def test_cut_archive_is_one_clear_line(tmp_path):
    path = write_tar(tmp_path / "source" / "a.tar.xz", image_files("cifar10", "png"))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="cannot be read"):
        fetch("cifar10", tmp_path / "root", path.parent)


def test_source_that_is_no_folder(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        fetch("cifar10", tmp_path / "root", tmp_path / "absent")


def test_same_split_twice_is_refused(tmp_path):
    files = image_files("cifar10", "png")
    source = write_folder(tmp_path / "source", files)
    write_tar(source / "a.tar.gz", files)
    with pytest.raises(UserError, match="leave one of them"):
        fetch("cifar10", tmp_path / "root", source)


def test_archive_cannot_reach_outside_or_through_links(tmp_path):
    link = tarfile.TarInfo("train/cat/link.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    fifo = tarfile.TarInfo("train/cat/fifo.png")
    fifo.type = tarfile.FIFOTYPE
    outside = {"../train/cat/outside.png": b"", "/train/cat/absolute.png": b""}
    files = image_files("cifar10", "png") | outside
    source = write_tar(tmp_path / "source" / "a.tar.gz", files, extra=(link, fifo)).parent
    splits = fetch("cifar10", tmp_path / "root", source)
    assert_true_to_source("cifar10", splits, by_class=True)


def test_batches_archive_cannot_write_outside(tmp_path, trusted_cifar):
    files = trusted_cifar | {"../outside": b"x"}
    source = write_tar(tmp_path / "source" / "cifar-10-python.tar.gz", files).parent
    with pytest.raises(UserError, match="outside"):
        fetch("cifar10", tmp_path / "root", source)


def test_oversized_member_is_refused(tmp_path):
    files = {"train/cat/0.png": bytes(2 << 20)}
    source = write_tar(tmp_path / "source" / "a.tar.gz", files).parent
    with pytest.raises(UserError, match="2,097,152 bytes"):
        fetch("cifar10", tmp_path / "root", source)
