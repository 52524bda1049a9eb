"""CIFAR-10 and Fashion-MNIST: a broken source is one clear line, and nothing escapes an archive."""

from __future__ import annotations

import gzip
import tarfile

import numpy as np
import pytest

from harness.common.errors import UserErrors
from tests.support.errors import raises_error, shortened
from tests.support.small_images import (
    encoded,
    idx_bytes,
    idx_files,
    image_files,
)
from tests.support.sources import fetch, refused, write_folder, write_tar


def broken_sources() -> dict[str, tuple[str, dict[str, bytes], str]]:
    """Code → data set, its broken files, the place in the source."""
    cifar, fashion = image_files("cifar10", "png"), idx_files()
    images, labels = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
    large = encoded("fashion-mnist", "train", 0, "png")
    cut = gzip.compress(gzip.decompress(fashion[images])[:-1])
    return {
        "cifar-nowhere": ("cifar10", {"readme.txt": b""}, ""),
        "cifar-unknown-class": ("cifar10", {"train/airplan/0.png": b""}, "/train/airplan/0.png"),
        "cifar-image-size": ("cifar10", cifar | {"test/cat/x.png": large}, "/test/cat/x.png"),
        "cifar-no-image": ("cifar10", cifar | {"test/cat/x.png": b"GIF89a"}, "/test/cat/x.png"),
        "cifar-cut-image": (
            "cifar10",
            cifar | {"test/cat/x.png": cifar["test/0/0000.png"][:60]},
            "/test/cat/x.png",
        ),
        "cifar-no-archive": ("cifar10", {"a.tar.xz": b"no archive"}, "/a.tar.xz"),
        "cifar-no-batches": (
            "cifar10",
            {"cifar-10-python.tar.gz": b"no archive"},
            "/cifar-10-python.tar.gz",
        ),
        "fashion-no-gzip": (
            "fashion-mnist",
            fashion | {images: b"\x1f\x8bxx"},
            "/train-images-idx3-ubyte.gz",
        ),
        "fashion-cut-gzip": (
            "fashion-mnist",
            fashion | {images: fashion[images][:-9]},
            "/train-images-idx3-ubyte.gz",
        ),
        "fashion-cut-idx": (
            "fashion-mnist",
            fashion | {images: cut},
            "/train-images-idx3-ubyte.gz",
        ),
        "fashion-cut-idx-head": (
            "fashion-mnist",
            fashion | {labels: gzip.compress(b"\0\0\x08\1")},
            "/train-labels-idx1-ubyte.gz",
        ),
        "fashion-no-idx": (
            "fashion-mnist",
            fashion | {labels: gzip.compress(b"hello")},
            "/train-labels-idx1-ubyte.gz",
        ),
        "fashion-missing-label": (
            "fashion-mnist",
            fashion | {labels: gzip.compress(idx_bytes(np.zeros(19)))},
            "/train-labels-idx1-ubyte.gz",
        ),
        "fashion-unknown-label": (
            "fashion-mnist",
            fashion | {labels: gzip.compress(idx_bytes(np.full(20, 10)))},
            "/train-labels-idx1-ubyte.gz",
        ),
        "fashion-missing-file": (
            "fashion-mnist",
            {images: fashion[images]},
            "/train-images-idx3-ubyte.gz",
        ),
        "fashion-labels-as-images": (
            "fashion-mnist",
            fashion | {images: fashion[labels]},
            "/train-images-idx3-ubyte.gz",
        ),
        "fashion-other-size": (
            "fashion-mnist",
            fashion | {images: gzip.compress(idx_bytes(np.zeros((20, 32, 32))))},
            "/train-images-idx3-ubyte.gz",
        ),
        "fashion-idx-of-floats": (
            "fashion-mnist",
            fashion | {labels: gzip.compress(b"\0\0\x0d\1" + bytes(84))},
            "/train-labels-idx1-ubyte.gz",
        ),
        "fashion-two-places": (
            "fashion-mnist",
            fashion | {f"raw/{labels}": fashion[labels]},
            "/train-labels-idx1-ubyte.gz",
        ),
    }


@pytest.mark.parametrize("code", broken_sources())
def test_broken_source_is_one_clear_line(code, tmp_path):
    name, files, where = broken_sources()[code]
    refused(name, tmp_path, files, code, f"<tmp>/source{where}")


def test_cut_archive_is_one_clear_line(tmp_path):
    path = write_tar(tmp_path / "source" / "a.tar.xz", image_files("cifar10", "png"))
    path.write_bytes(path.read_bytes()[:-200])
    with raises_error("cifar-cut-archive", where="<tmp>/source/a.tar.xz"):
        fetch("cifar10", tmp_path / "root", path.parent)


def test_source_that_is_no_folder(tmp_path):
    with raises_error("cifar-from-no-folder", where="<tmp>/absent"):
        fetch("cifar10", tmp_path / "root", tmp_path / "absent")


def test_same_pictures_in_two_places_are_refused(tmp_path):
    files = image_files("cifar10", "png")
    source = write_folder(tmp_path / "source", files)
    path = write_tar(source / "a.tar.gz", files)
    first = shortened(f"{path}: train/0/0000.png")
    twice = shortened(source / "train/0/0000.png")
    with raises_error("cifar-two-places", where=first, mistakes=21, there=twice):
        fetch("cifar10", tmp_path / "root", source)


def test_archive_cannot_reach_outside_or_through_links(tmp_path):
    link, hard, fifo = (tarfile.TarInfo(f"train/cat/{name}.png") for name in ("ln", "hard", "fifo"))
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard.type, hard.linkname = tarfile.LNKTYPE, "train/3/0003.png"
    fifo.type = tarfile.FIFOTYPE
    outside = {"../train/cat/outside.png": b"", "/train/cat/absolute.png": b"", "a/../b.png": b""}
    files = image_files("cifar10", "png") | outside
    source = write_tar(tmp_path / "source" / "a.tar.gz", files, extra=(link, hard, fifo)).parent
    with pytest.raises(UserErrors) as caught:
        fetch("cifar10", tmp_path / "root", source)
    refused_members = {error.where.rpartition(": ")[2]: error.what for error in caught.value.errors}
    assert refused_members == {
        "train/cat/ln.png": "is a link to /etc/passwd",
        "train/cat/hard.png": "is a link to train/3/0003.png",
        "train/cat/fifo.png": "is not a file",
        **dict.fromkeys(outside, "has a name outside the archive's folder"),
    }


def test_batches_archive_cannot_write_outside(tmp_path, trusted_cifar):
    files = trusted_cifar | {"../outside": b"x"}
    source = write_tar(tmp_path / "source" / "cifar-10-python.tar.gz", files).parent
    with raises_error("cifar-batches-outside", where="<tmp>/source/cifar-10-python.tar.gz"):
        fetch("cifar10", tmp_path / "root", source)


def test_linked_file_is_refused(tmp_path):
    source = write_folder(tmp_path / "source", idx_files())
    name = "train-images-idx3-ubyte.gz"
    (source / name).rename(tmp_path / name)
    (source / name).symlink_to(tmp_path / name)
    with raises_error(
        "fashion-link", where=f"<tmp>/source/{name}", mistakes=2, there=tmp_path / name
    ):
        fetch("fashion-mnist", tmp_path / "root", source)
