"""Published comparison lists: counts of their descriptions, split by what is compared."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from harness import datasets
from harness.config.dataset import Picture
from harness.datasets import read
from harness.datasets.listing import comparison_lines, flip_lines
from harness.judge.metrics import flip_mask
from harness.planning.recipe import DataRecipe, SubsetRecipe
from harness.running import host_stages
from tests.support.sources import (
    description,
    fetch,
    groups,
    image,
    manifest,
    parts,
    refused,
    shared,
    write_folder,
)


def published_lists(name: str, folder: Path) -> Path:
    """Unpack the lists of a data set; the archive of all of them is this project's own."""
    with tarfile.open(shared("ranking") / "pair_annotations.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    return folder / "pairs" / name


def lists_with_images(name: str, folder: Path) -> Path:
    """Unpack the lists of a data set, and make a picture for every image that they name."""
    source = published_lists(name, folder)
    names = {
        field
        for path in source.glob("*.txt")
        for line in path.read_text().splitlines()
        for field in line.split(",")[:2]
    }
    return write_folder(source, {f"imgs/{one}": image(one, (4, 4)) for one in names})


def fetch_small(name: str, root: Path, source: Path) -> None:
    """Read a set at 8x8 pixels: what is looked at is the lists."""
    small = description(name).model_copy(update={"picture": Picture(resize=(8, 8))})
    read.fetch(small, root, source)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Both sets of faces, as voted and every vote."""
    root = tmp_path_factory.mktemp("root")
    for name in ("age", "lfw10"):
        source = lists_with_images(name, tmp_path_factory.mktemp(name))
        for form in (name, f"{name}-unvoted"):
            fetch_small(form, root, source)
    return root


def ages(line: str) -> tuple[int, int]:
    first, second = line.split(",")[:2]
    return int(first[4:6]), int(second[4:6])


def list_of(name: str) -> list[str]:
    with tarfile.open(shared("ranking") / "pair_annotations.tar.xz") as tar:
        file = tar.extractfile(f"pairs/{name}")
        assert file is not None
        return file.read().decode().splitlines(keepends=True)


def test_real_age_has_the_counts_of_its_description(real):
    every, voted = (datasets.load(name, real) for name in ("age-unvoted", "age"))
    assert [len(s.y) for s in parts(every).values()] == [5013, 55_408, 55_409]
    assert [len(s.y) for s in parts(voted).values()] == [3000, 55_408, 55_409]
    assert [len(s.x) for s in parts(voted).values()] == [524, 478, 478]
    assert sum(count == 2 for count in Counter(groups(every.train)).values()) == 2013
    assert len(set(groups(voted.train))) == 3000
    for splits in (every, voted):
        ids = np.concatenate([split.ids for split in parts(splits).values()])
        assert len(np.unique(ids)) == len(ids)


def test_real_age_labels_mean_younger(real):
    """In all validation and test rows, 94.07 % of the majority's and 59.8 % of every vote's."""
    for part in ("val", "test"):
        split = getattr(datasets.load("age", real), part)
        for row, line in zip(split.y.tolist(), list_of(f"age/{part}_age.txt"), strict=True):
            first, second = ages(line)
            assert row[2] == int(line.split(",")[2]) == (1 if first < second else -1)
    right = {}
    for name in ("age", "age-unvoted"):
        lines = comparison_lines(name, real)
        label = datasets.load(name, real).train.y[:, 2]
        young = [np.sign(second - first) for first, second in map(ages, lines)]
        right[name] = float(np.mean(label == np.array(young)))
    assert right["age"] == pytest.approx(0.9407, abs=5e-5)
    assert right["age-unvoted"] == pytest.approx(0.598, abs=5e-4)


def test_real_lfw10_has_the_counts_of_its_description(real):
    every, voted = (datasets.load(name, real) for name in ("lfw10-unvoted", "lfw10"))
    assert [len(s.y) for s in parts(every).values()] == [6699, 2343, 2345]
    assert [len(s.y) for s in parts(voted).values()] == [4640 - 539, 2343, 2345]
    assert [len(s.x) for s in parts(every).values()] == [1412, 847, 846]
    assert len(voted.train.x) == 1361  # the others are in ties alone
    assert every.spec["outputs"] == len(every.spec["classes"]) == 10
    for splits in (every, voted):
        for split in parts(splits).values():
            assert set(split.y[:, 3].tolist()) == set(range(10))
    counts = np.bincount(every.train.y[:, 3])
    assert (counts.min(), counts.max()) == (583, 781)
    assert len(set(groups(every.train))) == 4640
    assert len(set(groups(voted.train))) == 4101


def test_real_lines_are_the_lists(real):
    for name, path in (("age", "age/train_unvoted_age.txt"), ("lfw10", "lfw10/train_LFW10.txt")):
        listed = list_of(path)
        assert comparison_lines(f"{name}-unvoted", real) == listed
        voted = iter(listed)
        assert all(line in voted for line in comparison_lines(name, real))


def test_lfw10_without_a_validation_list_cuts_it_from_train(tmp_path):
    source, root = lists_with_images("lfw10", tmp_path / "source"), tmp_path / "root"
    (source / "val_lfw.txt").unlink()
    fetch_small("lfw10-unvoted", root, source)
    every = datasets.load("lfw10-unvoted", root)
    assert len(every.test.y) == 4688
    assert len(every.train.y) + len(every.val.y) == 6699
    lines = list_of("lfw10/train_LFW10.txt")
    train = [compared(line) for line in comparison_lines("lfw10-unvoted", root)]
    rest = Counter(map(compared, lines)) - Counter(train)
    assert len(rest) == len(set(groups(every.val)))
    assert not set(rest) & set(train)
    whole = Counter(attribute for *_, attribute in set(map(compared, lines)))
    cut = Counter(attribute for *_, attribute in rest)
    assert all(cut[one] == round(count / 10) for one, count in whole.items())
    assert "val cut from the training list" in manifest(root, "lfw10-unvoted")["note"]


def compared(line: str) -> tuple[str, ...]:
    """Both faces and the attribute."""
    first, second, _, attribute, *_ = line.split(",")
    return first, second, attribute


@pytest.fixture(scope="module")
def food_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    fetch("food", root, published_lists("food", tmp_path_factory.mktemp("lists")))
    return root


def test_real_food_is_cut_with_both_directions_on_one_side(food_root):
    splits = datasets.load("food", food_root)
    assert [len(s.y) for s in parts(splits).values()] == [30_260, 1593, 6065]
    assert sum(len(s.y) for s in parts(splits).values()) == 37_918
    own = {part: groups(split) for part, split in parts(splits).items()}
    assert sum(len(found) - len(set(found)) for found in own.values()) == 357
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not set(own[a]) & set(own[b])
    ids = np.concatenate([split.ids for split in parts(splits).values()])
    assert len(np.unique(ids)) == len(ids)


def test_food_is_of_item_numbers(food_root):
    splits = datasets.load("food", food_root)
    assert (splits.spec["items"], splits.spec["arity"], splits.spec["outputs"]) == (100, 3, 5)
    assert splits.spec["shape"] == []
    for split in parts(splits).values():
        assert (split.x.dtype, split.x.tolist()) == (np.int64, list(range(100)))
        assert (split.y[:, 3] == 1).all()
        assert not split.y[:, 4].any()
    lines = comparison_lines("food", food_root)
    read = np.array([line.split(",")[:3] for line in lines], dtype=np.int64)
    assert np.array_equal(read, splits.train.y[:, :3])


@pytest.mark.parametrize("share", [0.15, 0.25, 0.35])
def test_a_flipped_list_differs_in_the_flipped_rows_and_flips_back(food_root, share):
    train, lines = (
        datasets.load("food", food_root).train,
        comparison_lines("food", food_root),
    )
    rows = np.linspace(0, len(lines) - 1, round(share * len(lines))).astype(int)
    after = train.y.copy()
    after[rows, 3] *= -1
    flipped = flip_lines("food", food_root, lines, np.flatnonzero(flip_mask(train.y, after)))
    differ = [n for n, (a, b) in enumerate(zip(lines, flipped, strict=True)) if a != b]
    assert differ == rows.tolist()
    for row in differ:
        a, p, q, w = lines[row].split(",")
        assert flipped[row] == f"{a},{q},{p},{w}"
    assert flip_lines("food", food_root, flipped, rows) == lines


def test_food_with_a_test_list(tmp_path):
    triplets = [(a, p, q) for a in range(8) for p in range(8) for q in range(8)
                if len({a, p, q}) == 3]  # fmt: skip
    train = "".join(f"{a},{p},{q},1\n" for a, p, q in triplets if a < 6)
    test = "".join(f"{a},{p},{q},1\n" for a, p, q in triplets if a >= 6)
    files = {"data/food/train/clean_0.txt": train, "data/food/test.txt": test}
    source = write_folder(
        tmp_path / "source", {name: text.encode() for name, text in files.items()}
    )
    splits = fetch("food", tmp_path / "root", source)
    assert len(splits.test.y) == 2 * 42
    assert (len(splits.train.y), len(splits.val.y)) == (252 - 12, 12)  # 6 of 126 groups
    assert not set(groups(splits.train)) & set(groups(splits.val))
    note = manifest(tmp_path / "root", "food")["note"]
    assert note.startswith("val cut from the training list; not the published set")


def test_a_list_too_short_to_be_cut_is_refused(tmp_path):
    refused("food", tmp_path, {"clean_0.txt": b"1,2,3,1\n"}, "list-too-short-to-cut")
    refused(
        "food",
        tmp_path,
        {"clean_0.txt": b"1,2,3\n"},
        "row-of-three-fields",
        "<tmp>/source/clean_0.txt, row 1",
    )


def test_test_rows_that_train_compares_too_are_told(tmp_path):
    train = "".join(f"{a},{a + 1},{a + 2},1\n" for a in range(50))
    files = {"train/clean_0.txt": train.encode(), "val.txt": b"90,91,92,1\n",
             "test.txt": b"0,2,1,1\n80,81,82,1\n"}  # fmt: skip
    fetch("food", tmp_path / "root", write_folder(tmp_path / "source", files))
    note = manifest(tmp_path / "root", "food")["note"]
    assert note.startswith("1 test rows compare what train compares; not the published set")


def test_descriptions_state_the_true_counts(real, food_root):
    for name in ("age", "age-unvoted", "lfw10", "lfw10-unvoted", "food"):
        root = food_root if name == "food" else real
        published = description(name).published
        assert published is not None
        assert (
            published.model_dump(include={"train", "val", "test"}) == manifest(root, name)["counts"]
        )


def test_the_data_stage_copies_items_that_are_numbers(tmp_path):
    train = "".join(f"{a},{a + 1},{a + 2},1\n" for a in range(90))
    fetch("food", tmp_path / "root", write_folder(tmp_path / "s", {"clean_0.txt": train.encode()}))
    recipe = DataRecipe("food", "x", 0.5)
    host_stages.data(recipe, {}, tmp_path / "out", tmp_path / "root")
    assert np.load(tmp_path / "out/train/x.npy").tolist() == list(range(100))
    assert len(np.load(tmp_path / "out/train/y.npy")) == 36
    inputs = {"data": tmp_path / "out/test", "spec": tmp_path / "out"}
    host_stages.slice_(SubsetRecipe(5), inputs, tmp_path / "slice", tmp_path)
    assert np.load(tmp_path / "slice/x/x.npy").shape == (100,)
    assert np.load(tmp_path / "slice/y/y.npy").shape == (5, 5)
