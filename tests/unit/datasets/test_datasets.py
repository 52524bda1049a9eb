"""Data sets: fixed, disjoint, true to their source; fetching reads what people really have."""

from __future__ import annotations

import csv
import functools
import gzip
import hashlib
import http.server
import io
import itertools
import json
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import datasets
from harness.common.errors import UserError
from harness.datasets.base import DataMissing, Splits, draws, hash_order
from harness.datasets.classification import fetched
from harness.datasets.segmentation import scenes
from tests.support.sources import fetch, manifest, parts, shared, write_folder, write_tar

NOWHERE = Path("/nowhere")
BUNDLED = [name for name, dataset in datasets.DATASETS.items() if dataset.bundled]
FETCHED = [name for name, dataset in datasets.DATASETS.items() if not dataset.bundled]
REPOSITORY = Path(__file__).resolve().parents[3]

# A change here changes every published number of these data sets: raise `version` with it.
PINNED = {
    "digits": "0dccd2bf09c60fe51e4313353e15da4a089ec0432b884fc8c1092abfca8b4ae9",
    "digits-0-4": "8d96b4a1e636b088271231bfd98d3897d1dcb9e6cdca3e78ef95a953f1eb5311",
    "digits-5-9": "a7332ce916899dd6a44bf42c79d8a3b28e7c03fa2679529bdb9250b2cced8887",
    "digits-ranking": "a1f6d5645c94dad4203effc1b5d06139e1dc7ea9ad02c9a4118c71b57c4b6daf",
    "digit-scenes": "7366d357dd473e75713ee05ef396740a20642c73397be5b1542b531d15be7289",
}


def arrays_digest(splits: Splits) -> str:
    digest = hashlib.sha256(json.dumps(splits.spec, sort_keys=True).encode())
    for split in parts(splits).values():
        for array in (split.x, split.y, split.ids):
            digest.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def assert_disjoint(splits: Splits) -> None:
    ids = np.concatenate([split.ids for split in parts(splits).values()])
    assert ids.dtype == np.int64
    assert len(np.unique(ids)) == len(ids)


# The table


def test_every_bundled_set_is_pinned():
    assert sorted(BUNDLED) == sorted(PINNED)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_arrays_are_fixed(name):
    assert arrays_digest(datasets.load(name, NOWHERE)) == PINNED[name]


@pytest.mark.parametrize("name", BUNDLED)
def test_splits_are_disjoint_and_of_the_declared_form(name):
    splits = datasets.load(name, NOWHERE)
    spec = splits.spec
    assert_disjoint(splits)
    assert set(spec) == {"task", "outputs", "shape", "items", "arity", "void", "classes"}
    assert json.loads(json.dumps(spec)) == spec
    assert spec["task"] == datasets.get(name).task
    for split in parts(splits).values():
        assert split.x.dtype == np.uint8
        assert list(split.x.shape[1:]) == spec["shape"]
        assert len(split.y) == len(split.ids)
        assert split.x.flags.c_contiguous


@pytest.mark.parametrize("name", BUNDLED)
def test_card_states_the_true_counts(name):
    size = datasets.get(name).card.size.replace(",", "")
    splits = datasets.load(name, NOWHERE)
    for part, word in {"train": "train", "val": "validation", "test": "test"}.items():
        assert f"{len(parts(splits)[part].ids)} {word}" in size


@pytest.mark.parametrize("name", datasets.DATASETS)
def test_card_is_complete(name):
    dataset = datasets.get(name)
    assert dataset.name == name
    assert all([dataset.card.title, dataset.card.licence, dataset.card.citation])
    assert all([dataset.card.source, dataset.card.size])
    assert dataset.bundled == (dataset.fetch is None)


def test_spec_fields_are_those_of_the_runtime():
    contracts = pytest.importorskip("harness.runtime.contracts")
    spec = datasets.load("digits", NOWHERE).spec
    assert set(spec) == set(contracts.Spec.__dataclass_fields__)


def test_unknown_name_names_the_nearest():
    with pytest.raises(UserError, match='did you mean "digits-ranking"'):
        datasets.get("digit-ranking")


def test_importing_the_table_imports_only_numpy():
    code = (
        "import sys, harness.datasets;"
        "print([m for m in ('torch', 'torchvision', 'sklearn', 'PIL') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert out.stdout.strip() == "[]"


def test_digests_differ_between_bundled_sets_and_repeat():
    digests = [datasets.digest(name, NOWHERE) for name in BUNDLED]
    assert len(set(digests)) == len(BUNDLED)
    assert digests == [datasets.digest(name, Path("/elsewhere")) for name in BUNDLED]


# Chance from names


def test_hash_order_is_a_permutation_that_ignores_company():
    ids = np.arange(100, dtype=np.int64)
    order = hash_order(ids, "salt")
    assert sorted(order.tolist()) == ids.tolist()
    assert order.tolist() != hash_order(ids, "other").tolist()
    even = ids[::2]
    assert even[hash_order(even, "salt")].tolist() == [i for i in order.tolist() if i % 2 == 0]


def test_draws_are_even():
    values = draws("test", 10_000)
    counts = np.histogram(values, bins=10, range=(0, 1))[0]
    assert counts.sum() == 10_000
    assert counts.min() > 900


# Bundled sets, one by one


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    splits = datasets.load("digits", NOWHERE)
    assert [len(split.ids) for split in parts(splits).values()] == [1000, 297, 500]
    for split in parts(splits).values():
        assert np.array_equal(split.y, bunch.target[split.ids])
        assert np.array_equal(split.x[:, 0], np.rint(bunch.images[split.ids] * 255 / 16))


@pytest.mark.parametrize(("name", "first"), [("digits-0-4", 0), ("digits-5-9", 5)])
def test_halves_are_the_whole_filtered(name, first):
    whole, half = datasets.load("digits", NOWHERE), datasets.load(name, NOWHERE)
    assert half.spec["classes"] == [str(first + k) for k in range(5)]
    for part, split in parts(half).items():
        full = parts(whole)[part]
        rows = np.isin(full.ids, split.ids)
        assert np.array_equal(full.y[rows], split.y + first)
        assert np.array_equal(full.x[rows], split.x)
        assert sorted(set(split.y.tolist())) == [0, 1, 2, 3, 4]


def test_ranking_labels_agree_with_the_digits():
    whole, ranked = datasets.load("digits", NOWHERE), datasets.load("digits-ranking", NOWHERE)
    assert [len(split.y) for split in parts(ranked).values()] == [2000, 400, 1000]
    for part, split in parts(ranked).items():
        items = parts(whole)[part]
        assert np.array_equal(split.x, items.x)
        first, second, label, attribute = split.y.T
        assert np.array_equal(label, np.sign(items.y[first] - items.y[second]))
        assert set(label.tolist()) == {-1, 1}
        assert abs(label.mean()) < 0.12
        assert not attribute.any()
        unordered = {frozenset(pair) for pair in split.y[:, :2].tolist()}
        assert len(unordered) == len(split.y)


def test_scenes_have_digits_and_a_border_of_void():
    splits = datasets.load("digit-scenes", NOWHERE)
    assert [len(split.ids) for split in parts(splits).values()] == [160, 24, 48]
    for split in parts(splits).values():
        assert split.y.dtype == np.uint8
        assert set(np.unique(split.y).tolist()) == {*range(11), scenes.VOID}
        for labels in split.y:
            void, digit = labels == scenes.VOID, (labels > 0) & (labels != scenes.VOID)
            near = np.pad(digit, 1)
            near = np.lib.stride_tricks.sliding_window_view(near, (3, 3)).any(axis=(2, 3))
            assert np.array_equal(void, near & ~digit)
            assert 0.03 < digit.mean() < 0.5


def test_scenes_of_different_splits_share_no_pixels():
    ranges = sorted((part.top, part.bottom) for part in scenes.PARTS)
    assert all(low[1] <= high[0] for low, high in itertools.pairwise(ranges))


def test_digits_in_a_scene_are_brighter_than_their_ground():
    train = datasets.load("digit-scenes", NOWHERE).train
    luminance = train.x.mean(axis=1)
    assert luminance[(train.y > 0) & (train.y != scenes.VOID)].mean() > 150
    assert luminance[train.y == 0].mean() < 100


# Shares of the training set


@pytest.mark.parametrize("name", BUNDLED)
def test_train_fractions_are_nested_and_leave_the_rest_alone(name):
    whole = datasets.load(name, NOWHERE)
    small, large = (datasets.load(name, NOWHERE, share) for share in (0.1, 0.5))
    assert len(small.train.ids) == round(0.1 * len(whole.train.ids))
    assert set(small.train.ids.tolist()) < set(large.train.ids.tolist())
    assert np.array_equal(small.test.ids, whole.test.ids)
    rows = np.isin(whole.train.ids, small.train.ids)
    assert np.array_equal(whole.train.y[rows], small.train.y)
    if whole.spec["task"] == "ranking":
        assert np.array_equal(whole.train.x, small.train.x)
    else:
        assert np.array_equal(whole.train.x[rows], small.train.x)


@pytest.mark.parametrize("share", [0, -0.5, 1.5, float("nan"), 0.0001])
def test_impossible_train_fraction_is_the_users_mistake(share):
    with pytest.raises(UserError, match="train_fraction"):
        datasets.load("digits", NOWHERE, share)


# Fetching: sources made here

SMALL = {"train": 20, "test": 10}
"""Images of the sources made here; every class has the same number."""


def pixels(name: str, part: str, row: int) -> np.ndarray:
    """An image that is like no other, flat in each quarter so that JPEG keeps it roughly."""
    side, channels = (32, 3) if name == "cifar10" else (28, 1)
    values = (draws(f"{name}/{part}/{row}", 4 * channels) * 256).astype(np.uint8)
    blocks = values.reshape(2, 2, channels)
    return np.kron(blocks, np.ones((side // 2, side // 2, 1), dtype=np.uint8))


def encoded(name: str, part: str, row: int, suffix: str) -> bytes:
    array = pixels(name, part, row)
    buffer = io.BytesIO()
    image = Image.fromarray(array if array.shape[2] == 3 else array[:, :, 0])
    image.save(buffer, "PNG" if suffix == "png" else "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def image_files(name: str, suffix: str, label=str) -> dict[str, bytes]:
    """Member name → bytes of a class-folder layout; row r has class r modulo 10."""
    return {
        f"{part}/{label(row % 10)}/{row:04d}.{suffix}": encoded(name, part, row, suffix)
        for part, count in SMALL.items()
        for row in range(count)
    }


def idx_bytes(array: np.ndarray) -> bytes:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def idx_files(train_images: str = "train-images-idx3-ubyte", labels: int = 20) -> dict[str, bytes]:
    """Fashion-MNIST's four files, gzipped."""
    stacks = {
        part: np.stack([pixels("fashion-mnist", part, row)[:, :, 0] for row in range(count)])
        for part, count in SMALL.items()
    }
    arrays = {
        train_images: stacks["train"],
        "train-labels-idx1-ubyte": np.arange(labels) % 10,
        "t10k-images-idx3-ubyte": stacks["test"],
        "t10k-labels-idx1-ubyte": np.arange(10),
    }
    return {f"{name}.gz": gzip.compress(idx_bytes(array)) for name, array in arrays.items()}


def cifar_batches() -> dict[str, bytes]:
    """Torchvision's form of CIFAR-10, four images a batch."""
    files = {}
    for batch in range(5):
        rows = range(4 * batch, 4 * batch + 4)
        flat = [pixels("cifar10", "train", row).transpose(2, 0, 1).ravel() for row in rows]
        entry = {"data": np.stack(flat), "labels": [row % 10 for row in rows]}
        files[f"cifar-10-batches-py/data_batch_{batch + 1}"] = pickle.dumps(entry)
    flat = [pixels("cifar10", "test", row).transpose(2, 0, 1).ravel() for row in range(10)]
    entry = {"data": np.stack(flat), "labels": list(range(10))}
    files["cifar-10-batches-py/test_batch"] = pickle.dumps(entry)
    names = {"label_names": list(fetched.CIFAR10.form.classes)}
    files["cifar-10-batches-py/batches.meta"] = pickle.dumps(names)
    return files


def md5(blob: bytes) -> str:
    return hashlib.md5(blob, usedforsecurity=False).hexdigest()


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
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def assert_true_to_source(name: str, splits: Splits, *, by_class: bool, tolerance: int = 0) -> None:
    """Every image is the one that was made, with its label; ``by_class``: ordered by class."""
    assert_disjoint(splits)
    assert [len(split.ids) for split in parts(splits).values()] == [18, 2, 10]
    for part, split in parts(splits).items():
        source = "test" if part == "test" else "train"
        order = sorted(range(SMALL[source]), key=lambda row: (row % 10, row))
        for x, y, identity in zip(split.x, split.y, split.ids.tolist(), strict=True):
            place = identity % fetched.FIRST_TEST_ID
            row = order[place] if by_class else place
            assert y == row % 10
            expected = pixels(name, source, row).transpose(2, 0, 1)
            assert np.abs(x.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("name", FETCHED)
def test_not_fetched_says_how_to_fetch(name, tmp_path):
    place = datasets.shelf(name).name  # of two that lie together, fetching one serves both
    for act in (datasets.load, datasets.digest):
        with pytest.raises(DataMissing, match=f"gauntlet data fetch {place}`"):
            act(name, tmp_path)


# Fashion-MNIST's class names are no folder names ("T-shirt/top").
FOLDER_FORMS = [
    *(
        (name, form)
        for name in fetched.KINDS
        for form in ("numbers", "jpg", "xz", "gz", "two archives")
    ),
    ("cifar10", "names"),
]


@pytest.mark.parametrize(("name", "form"), FOLDER_FORMS)
def test_class_folders(name, form, tmp_path):
    suffix = "jpg" if form == "jpg" else "png"
    names = fetched.KINDS[name].form.classes
    files = image_files(name, suffix, label=names.__getitem__ if form == "names" else str)
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
    assert_true_to_source(name, splits, by_class=True, tolerance=20 if suffix == "jpg" else 0)
    assert manifest(tmp_path / "root", name)["lossy"] == (suffix == "jpg")
    assert [path.name for path in (tmp_path / "root").iterdir()] == [name]


@pytest.mark.parametrize("form", ["flat", "plain", "torchvision", "first10k"])
def test_fashion_idx(form, tmp_path):
    partial = form == "first10k"
    files = idx_files("train-first10k-images-idx3-ubyte", labels=60) if partial else idx_files()
    if form == "plain":
        files = {name.removesuffix(".gz"): gzip.decompress(blob) for name, blob in files.items()}
    if form == "torchvision":
        files = {f"FashionMNIST/raw/{name}": blob for name, blob in files.items()}
    splits = fetch("fashion-mnist", tmp_path / "root", write_folder(tmp_path / "source", files))
    assert_true_to_source("fashion-mnist", splits, by_class=False)
    record = manifest(tmp_path / "root", "fashion-mnist")
    assert record["note"] == ("only the first 20 of 60 training images" if partial else "")
    assert record["files"].keys() == files.keys()


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_cifar_batches(form, tmp_path, trusted_cifar):
    source = tmp_path / "source"
    if form == "folder":
        write_folder(source, trusted_cifar)
    else:
        write_tar(source / "cifar-10-python.tar.gz", trusted_cifar)
    assert_true_to_source("cifar10", fetch("cifar10", tmp_path / "root", source), by_class=False)


def test_cifar_batches_with_an_unknown_md5_are_not_unpickled(tmp_path):
    source = write_folder(tmp_path / "source", cifar_batches())
    with pytest.raises(UserError, match="MD5"):
        fetch("cifar10", tmp_path / "root", source)


def test_cifar_download(tmp_path, web, trusted_cifar, monkeypatch):
    from torchvision.datasets import CIFAR10

    folder, address = web
    archive = write_tar(folder / "cifar-10-python.tar.gz", trusted_cifar)
    monkeypatch.setattr(CIFAR10, "url", f"{address}/{archive.name}")
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive.read_bytes()))
    assert_true_to_source("cifar10", fetch("cifar10", tmp_path / "root", None), by_class=False)
    assert manifest(tmp_path / "root", "cifar10")["source"] == "torchvision download"
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
    assert_true_to_source("fashion-mnist", splits, by_class=False)


@pytest.mark.parametrize("fault", ["absent", "other content"])
def test_failed_download_is_one_line_and_leaves_nothing(fault, tmp_path, web, monkeypatch):
    from torchvision.datasets import CIFAR10

    folder, address = web
    if fault == "absent":
        address = folder.as_uri()  # urllib leaves the socket of an HTTP error open
    else:
        write_tar(folder / "cifar-10-python.tar.gz", cifar_batches())
    monkeypatch.setattr(CIFAR10, "url", f"{address}/cifar-10-python.tar.gz")
    with pytest.raises(UserError, match=r"the download failed .*--from DIR") as caught:
        fetch("cifar10", tmp_path / "root", None)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "root").iterdir()) == []


def test_fetching_again_replaces_and_changes_the_digest(tmp_path):
    root = tmp_path / "root"
    fetch("fashion-mnist", root, write_folder(tmp_path / "a", idx_files()))
    before = datasets.digest("fashion-mnist", root)
    files = image_files("fashion-mnist", "png")
    fetch("fashion-mnist", root, write_folder(tmp_path / "b", files))
    assert datasets.digest("fashion-mnist", root) != before
    fetch("fashion-mnist", root, tmp_path / "a")
    assert datasets.digest("fashion-mnist", root) == before


def test_failed_fetch_keeps_what_was_there(tmp_path):
    root = tmp_path / "root"
    fetch("fashion-mnist", root, write_folder(tmp_path / "a", idx_files()))
    before = datasets.digest("fashion-mnist", root)
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError):
        fetch("fashion-mnist", root, tmp_path / "b")
    assert datasets.digest("fashion-mnist", root) == before


def test_what_was_fetched_in_the_past_stays_valid(tmp_path):
    """The form of arrays and manifest, written out; if this fails, everyone has to fetch again."""
    fetch("fashion-mnist", tmp_path, write_folder(tmp_path / "source", idx_files()))
    before = arrays_digest(datasets.load("fashion-mnist", tmp_path))
    folder = tmp_path / "fashion-mnist"
    sums = {}
    for name in ("train_x", "train_y", "test_x", "test_y"):
        array = np.load(folder / f"{name}.npy")
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
        sums[name] = hashlib.sha256((folder / f"{name}.npy").read_bytes()).hexdigest()
    whole = hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()
    record = {"name": "fashion-mnist", "version": 1, "arrays": sums, "sha256": whole}
    (folder / "manifest.json").write_text(json.dumps(record))
    assert arrays_digest(datasets.load("fashion-mnist", tmp_path)) == before
    text = json.dumps(["fashion-mnist", 1, whole])
    assert datasets.digest("fashion-mnist", tmp_path) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("damage", ["array", "absent array", "manifest", "digest", "version"])
def test_damage_after_the_fetch_is_found(damage, tmp_path):
    fetch("fashion-mnist", tmp_path, write_folder(tmp_path / "source", idx_files()))
    folder = tmp_path / "fashion-mnist"
    if damage == "array":
        blob = bytearray((folder / "train_x.npy").read_bytes())
        blob[-1] ^= 1
        (folder / "train_x.npy").write_bytes(blob)
    elif damage == "absent array":
        (folder / "test_y.npy").unlink()
    elif damage == "manifest":
        (folder / "manifest.json").write_text("{")
    else:
        record = manifest(tmp_path, "fashion-mnist")
        key = {"digest": "sha256", "version": "version"}[damage]
        (folder / "manifest.json").write_text(json.dumps(record | {key: 0}))
    with pytest.raises(DataMissing, match="gauntlet data fetch fashion-mnist"):
        datasets.load("fashion-mnist", tmp_path)


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


# Fetching: real archives


def test_real_fashion_mnist(tmp_path):
    source = shared("fashion_mnist")
    splits = fetch("fashion-mnist", tmp_path, source)
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
    assert manifest(tmp_path, "cifar10")["lossy"]
    with gzip.open(source / "cifar10_test_first100_lossless.csv.gz", "rt") as file:
        rows = np.array([[int(value) for value in row] for row in csv.reader(file)])
    truth = rows[:, 1:].reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)
    seen = [int((rows[:k, 0] == label).sum()) for k, label in enumerate(rows[:, 0])]
    found = splits.test.x[1000 * rows[:, 0] + np.array(seen)]
    assert np.mean((found.astype(float) - truth) ** 2) == pytest.approx(69, abs=1)
