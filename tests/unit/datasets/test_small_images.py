"""CIFAR-10, MNIST and Fashion-MNIST: every published layout is read, every download is checked."""

from __future__ import annotations

import csv
import functools
import gzip
import http.server
import threading

import numpy as np
import pytest

from tests.support.errors import raises_error
from tests.support.small_images import (
    assert_disjoint,
    assert_true_to_source,
    cifar_batches,
    encoded,
    idx_bytes,
    idx_files,
    image_files,
    md5,
    pixels,
)
from tests.support.sources import (
    description,
    fetch,
    manifest,
    parts,
    shared,
    write_folder,
    write_tar,
)


@pytest.fixture
def web(tmp_path):
    """A folder, and the address under which a server on this machine gives out its files."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    folder = tmp_path / "web"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


# Fashion-MNIST's class names are no folder names ("T-shirt/top").
FOLDER_FORMS = [
    *(
        (name, form)
        for name in ("cifar10", "fashion-mnist", "mnist")
        for form in ("numbers", "jpg", "xz", "gz", "two archives")
    ),
    ("cifar10", "names"),
]


def row_key(part: str, row: int) -> str:
    """The name of an example of an array."""
    return f"{part}/{row}"


@pytest.mark.parametrize(("name", "form"), FOLDER_FORMS)
def test_class_folders(name, form, tmp_path):
    suffix = "jpg" if form == "jpg" else "png"
    names = description(name).classes
    label = names.__getitem__ if form == "names" else str
    files = image_files(name, suffix, label=label)
    source = tmp_path / "source"
    if form in ("xz", "gz"):
        write_tar(source / f"a.tar.{form}", files)
    elif form == "two archives":
        for part in ("train", "test"):
            some = {key: blob for key, blob in files.items() if key.startswith(part)}
            write_tar(source / f"{part}.tar.xz", some)
    else:
        write_folder(source, files)
    splits = fetch(name, tmp_path / "root", source)

    def key(part: str, row: int) -> str:
        return f"{part}/{label(row % 10)}/{row:04d}.{suffix}"

    assert_true_to_source(name, splits, key, tolerance=20 if suffix == "jpg" else 0)
    assert splits.test.y.tolist() == [*range(10)]
    assert splits.spec["classes"] == list(names)
    lossy = "pictures stored with loss: not comparable with published figures: 30"
    assert (lossy in manifest(tmp_path / "root", name)["note"]) == (suffix == "jpg")
    assert [path.name for path in (tmp_path / "root").iterdir()] == [name]


@pytest.mark.parametrize("name", ["fashion-mnist", "mnist"])
@pytest.mark.parametrize("form", ["flat", "plain", "torchvision", "both forms", "tar"])
def test_idx(name, form, tmp_path):
    files = packed = idx_files(name)
    source = tmp_path / "source"
    if form in ("plain", "both forms"):
        files = {name.removesuffix(".gz"): gzip.decompress(blob) for name, blob in files.items()}
    if form == "both forms":  # as a download by torchvision leaves them
        files = {f"raw/{name}": blob for name, blob in (files | packed).items()}
    if form == "torchvision":
        folder = description(name).download.torchvision
        files = {f"{folder}/raw/{name}": blob for name, blob in files.items()}
    if form == "tar":
        write_tar(source / "a.tar.gz", files)
    else:
        write_folder(source, files)
    splits = fetch(name, tmp_path / "root", source)
    assert_true_to_source(name, splits, row_key)
    record = manifest(tmp_path / "root", name)
    assert record["layout"] == "idx"
    read = {"tar": {"a.tar.gz"}, "both forms": {f"raw/{name}" for name in packed}}
    assert record["files"].keys() == read.get(form, files.keys())


def test_a_test_split_alone_is_enough(tmp_path):
    files = {name: blob for name, blob in idx_files("mnist").items() if name.startswith("t10k")}
    splits = fetch("mnist", tmp_path / "root", write_folder(tmp_path / "source", files))
    assert [len(split.y) for split in parts(splits).values()] == [0, 0, 10]


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_cifar_batches(form, tmp_path, trusted_cifar):
    source = tmp_path / "source"
    if form == "folder":
        write_folder(source, trusted_cifar)
    else:
        write_tar(source / "cifar-10-python.tar.gz", trusted_cifar)
    assert_true_to_source("cifar10", fetch("cifar10", tmp_path / "root", source), row_key)


@pytest.mark.parametrize("packed", [False, True])
def test_cifar_rows_of_pixels(packed, tmp_path):
    rows = [
        ",".join(map(str, [row % 10, *pixels("cifar10", "test", row).ravel().tolist()]))
        for row in range(10)
    ]
    text = "\n".join(rows).encode()
    files = {"cifar10_test.csv.gz": gzip.compress(text)} if packed else {"cifar10_test.csv": text}
    splits = fetch("cifar10", tmp_path / "root", write_folder(tmp_path / "source", files))
    assert splits.test.y.tolist() == [*range(10)]
    for row, x in enumerate(splits.test.x):
        assert np.array_equal(x.transpose(1, 2, 0), pixels("cifar10", "test", row))
    assert "10 of 10,000 test examples" in manifest(tmp_path / "root", "cifar10")["note"]


def test_cifar_pictures_with_a_list_of_labels(tmp_path):
    names = description("cifar10").classes
    listed = "".join(f"{row + 1},{names[row % 10]}\n" for row in range(25))
    files = {"trainLabels.csv": f"id,label\n{listed}".encode()}
    for row in range(20):
        blob = encoded("cifar10", "train", row, "png")
        files[f"train_1000samples/{row + 1}.png"] = blob
    source = tmp_path / "source"
    write_tar(source / "a.tar.xz", files)
    splits = fetch("cifar10", tmp_path / "root", source)
    assert [len(split.y) for split in parts(splits).values()] == [10, 10, 0]
    for split in (splits.train, splits.val):
        assert sorted(split.y.tolist()) == [*range(10)]
        for x, y in zip(split.x, split.y.tolist(), strict=True):
            made = [pixels("cifar10", "train", row).transpose(2, 0, 1) for row in (y, y + 10)]
            assert any(np.array_equal(x, one) for one in made)
    note = manifest(tmp_path / "root", "cifar10")["note"]
    assert "5 of 25 listed pictures are not there" in note


def test_cifar_batches_with_an_unknown_md5_are_not_unpickled(tmp_path):
    source = write_folder(tmp_path / "source", cifar_batches())
    with raises_error("cifar-batches-md5", where="<tmp>/source/cifar-10-batches-py"):
        fetch("cifar10", tmp_path / "root", source)


def test_cifar_download(tmp_path, web, trusted_cifar, monkeypatch):
    from torchvision.datasets import CIFAR10

    folder, address = web
    archive = write_tar(folder / "cifar-10-python.tar.gz", trusted_cifar)
    monkeypatch.setattr(CIFAR10, "url", f"{address}/{archive.name}")
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive.read_bytes()))
    assert_true_to_source("cifar10", fetch("cifar10", tmp_path / "root", None), row_key)
    assert manifest(tmp_path / "root", "cifar10")["source"] == "download"
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["cifar10"]


def test_fashion_download(tmp_path, web, monkeypatch):
    from torchvision.datasets import FashionMNIST

    folder, address = web
    files = idx_files()
    write_folder(folder, files)
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"{address}/"])
    resources = [(name, md5(blob)) for name, blob in files.items()]
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    splits = fetch("fashion-mnist", tmp_path / "root", None)
    assert_true_to_source("fashion-mnist", splits, row_key)


@pytest.mark.parametrize(
    ("fault", "code"),
    [("absent", "cifar-download-failed"), ("other content", "cifar-download-of-other-content")],
)
def test_failed_download_is_one_line_and_leaves_nothing(fault, code, tmp_path, web, monkeypatch):
    from torchvision.datasets import CIFAR10

    folder, address = web
    if fault == "absent":
        address = folder.as_uri()  # urllib leaves the socket of an HTTP error open
    else:
        write_tar(folder / "cifar-10-python.tar.gz", cifar_batches())
    monkeypatch.setattr(CIFAR10, "url", f"{address}/cifar-10-python.tar.gz")
    with raises_error(code, where="data set cifar10"):
        fetch("cifar10", tmp_path / "root", None)
    assert list((tmp_path / "root").iterdir()) == []


def test_real_fashion_mnist(tmp_path):
    """The whole test set, and the first 10,000 training images under their published names."""
    source = shared("fashion_mnist")
    images, labels = (f"train-{name}-ubyte.gz" for name in ("images-idx3", "labels-idx1"))
    files = {path.name: path.read_bytes() for path in source.glob("t10k-*.gz")}
    files[images] = (source / "train-first10k-images-idx3-ubyte.gz").read_bytes()
    values = np.frombuffer(gzip.decompress((source / labels).read_bytes()), np.uint8, offset=8)
    files[labels] = gzip.compress(idx_bytes(values[:10_000]))
    splits = fetch("fashion-mnist", tmp_path / "root", write_folder(tmp_path / "source", files))
    assert [len(split.ids) for split in parts(splits).values()] == [9000, 1000, 10_000]
    assert np.bincount(splits.test.y).tolist() == [1000] * 10
    raw = gzip.decompress((source / "t10k-images-idx3-ubyte.gz").read_bytes())
    assert splits.test.x.tobytes() == raw[16:]
    assert_disjoint(splits)


def test_real_cifar10_agrees_with_lossless_pixels(tmp_path):
    """Class order, channel order and orientation: the first 100 test images, from another source.

    Within a class, both sources keep the official order. JPEG costs a mean squared error of 69.
    """
    source = shared("cifar10")
    splits = fetch("cifar10", tmp_path, source)
    assert [len(split.ids) for split in parts(splits).values()] == [45_000, 5000, 10_000]
    assert np.bincount(splits.test.y).tolist() == [1000] * 10
    assert "stored with loss" in manifest(tmp_path, "cifar10")["note"]
    with gzip.open(source / "cifar10_test_first100_lossless.csv.gz", "rt") as file:
        rows = np.array([[int(value) for value in row] for row in csv.reader(file)])
    truth = rows[:, 1:].reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)
    # the files of a class are numbered in the official order, and read in that of their names
    seen = [int((rows[:k, 0] == label).sum()) for k, label in enumerate(rows[:, 0])]
    found = splits.test.x[1000 * rows[:, 0] + np.array(seen)]
    assert np.mean((found.astype(float) - truth) ** 2) == pytest.approx(69, abs=1)
