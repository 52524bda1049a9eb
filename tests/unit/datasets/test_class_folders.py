"""Class folders of one's own: what is read, what is cut, and what is refused."""

import json
import time

import numpy as np
import pytest

from harness import datasets
from harness.common.errors import UserError
from harness.datasets import Datasets, read
from harness.datasets.read import reading_digest
from tests.support.errors import raises_error
from tests.support.own_data import class_folders, describe, picture, read_own
from tests.support.sources import parts, write_folder, write_tar

GREY = {"picture": {"channels": 1}}


def facts(tmp_path):
    return json.loads((tmp_path / "root" / "own" / "manifest.json").read_text())


def test_folders_become_splits_and_classes(tmp_path):
    splits = read_own(tmp_path, class_folders({"train": 5, "test": 3}), **GREY)
    assert [len(split.y) for split in parts(splits).values()] == [10, 0, 6]
    assert splits.train.x.shape == (10, 1, 8, 8)
    assert splits.spec["classes"] == ["cat", "dog"]
    assert splits.test.y.tolist() == [0, 0, 0, 1, 1, 1]
    # the first picture of the test split is the eleventh that was made
    assert splits.test.x[0, 0, 0, 0] == 11
    assert len(set(np.concatenate([split.ids for split in parts(splits).values()]))) == 16


def test_a_test_split_alone_is_enough(tmp_path):
    splits = read_own(
        tmp_path, class_folders({"test": 2}, side=28), picture={"channels": 1, "size": 28}
    )
    assert [len(split.y) for split in parts(splits).values()] == [0, 0, 4]
    assert splits.train.x.shape == (0, 1, 28, 28)


def test_an_archive_gives_what_the_folder_gives(tmp_path):
    files = class_folders({"train": 4, "test": 2})
    a = read_own(tmp_path / "a", files, **GREY)
    write_tar(
        tmp_path / "b" / "source" / "all.tar.xz",
        {f"mine/{name}": blob for name, blob in files.items()},
    )
    layout = [{"class_folders": {"below": ["mine"]}}]
    b = read_own(tmp_path / "b", {}, layouts=layout, **GREY)
    for left, right in zip(parts(a).values(), parts(b).values(), strict=True):
        for key in ("x", "y", "ids"):
            np.testing.assert_array_equal(getattr(left, key), getattr(right, key))


def test_shares_are_cut_from_training_in_each_class(tmp_path):
    layout = [{"class_folders": {"files": ["{class}/{name}"]}}]
    files = class_folders({"": 20})
    splits = read_own(tmp_path, files, layouts=layout, splits={"val": 0.1, "test": 0.25}, **GREY)
    assert [np.bincount(split.y).tolist() for split in parts(splits).values()] == [
        [13, 13], [2, 2], [5, 5],
    ]  # fmt: skip
    assert facts(tmp_path)["per_class"]["test"] == [5, 5]


def test_a_group_is_never_in_two_splits(tmp_path):
    files = {
        f"{name}/{track:02}_{frame}.png": picture(40 * number + 4 * track + frame)
        for number, name in enumerate(("cat", "dog"))
        for track in range(6)
        for frame in range(4)
    }
    layout = [{"class_folders": {"files": ["{class}/{track}_{frame}"], "group": "{class}/{track}"}}]
    read_own(tmp_path, files, layouts=layout, splits={"val": 0.2, "test": 0.2}, **GREY)
    groups = {
        part: set(np.load(tmp_path / "root" / "own" / f"{part}_groups.npy").tolist())
        for part in ("train", "val", "test")
    }
    assert {part: len(own) for part, own in groups.items()} == {"train": 8, "val": 2, "test": 2}
    assert len(set.union(*groups.values())) == 12


def test_groups_on_both_sides_of_given_splits_are_named(tmp_path):
    files = {
        f"{part}/cat/7_{n}.png": picture(10 * i + n)
        for i, part in enumerate(("train", "test"))
        for n in range(2)
    }
    layout = [{"class_folders": {"files": ["{split}/{class}/{person}_{n}"], "group": "{person}"}}]
    read_own(tmp_path, files, layouts=layout, **GREY)
    assert "1 groups are in train and in test" in facts(tmp_path)["note"]


def test_what_the_layout_does_not_name_is_counted(tmp_path):
    files = class_folders({"train": 1}) | {
        "extra/cat/0.png": picture(77),
        "train/readme.txt": b"hi",
    }
    read_own(tmp_path, files, **GREY)
    assert "1 pictures that its layout does not name (extra/cat/0.png)" in facts(tmp_path)["note"]


def test_classes_in_the_order_of_the_file_by_name_or_number(tmp_path):
    files = class_folders({"train": 2}, classes=("00001", "cat"))
    splits = read_own(tmp_path, files, classes=["dog", "bird", "cat"], **GREY)
    assert splits.train.y.tolist() == [1, 1, 2, 2]
    assert facts(tmp_path)["findings"]["missing_classes"]["train"] == ["dog"]


def test_numbers_are_sorted_as_numbers(tmp_path):
    splits = read_own(tmp_path, class_folders({"train": 1}, classes=("2", "10", "1")), **GREY)
    assert splits.spec["classes"] == ["1", "2", "10"]


@pytest.mark.parametrize(
    ("files", "changes", "code", "where"),
    [
        ({"train/cow/1.png": picture(1)}, {"classes": ["cat", "dog"]}, "own-class-unknown",
         "<tmp>/source/train/cow/1.png"),
        (class_folders({"train": 1}), {"class_count": 3}, "own-class-count", "<tmp>/source"),
        ({"train/cat/1.png": picture(1), "train/cat/2.png": picture(2, side=9)}, {},
         "own-sizes-differ", "<tmp>/source: train/cat/2.png"),
        ({"a.txt": b"hi"}, {}, "own-nothing-there", "<tmp>/source"),
        ({"train/cat/1.png": b"\x89PNG broken"}, {}, "own-picture-broken",
         "<tmp>/source/train/cat/1.png"),
    ],
)  # fmt: skip
def test_a_broken_source_is_one_line(files, changes, code, where, tmp_path):
    with raises_error(code, where=where):
        read_own(tmp_path, files, **GREY, **changes)
    assert list((tmp_path / "root").iterdir()) == []


def test_all_mistakes_at_once(tmp_path):
    files = {f"train/cat/{n}.png": b"broken" for n in range(30)}
    with raises_error("own-text-not-picture", where="<tmp>/source/train/cat/0.png", mistakes=21):
        read_own(tmp_path, files, **GREY)


def test_a_copy_that_differs_from_the_published_set_is_named(tmp_path):
    read_own(
        tmp_path, class_folders({"train": 3, "test": 1}), published={"train": 6, "test": 20}, **GREY
    )
    assert facts(tmp_path)["note"] == "not the published set: 2 of 20 test examples"


def test_keys_follow_arrays_and_reading_but_not_the_card(tmp_path):
    read_own(tmp_path, class_folders({"train": 3}), **GREY)

    def key(**changes):
        return Datasets(
            tmp_path / "root", [describe(tmp_path / "d", **GREY, **changes)]
        ).key_digest("own")

    before = key()
    assert key(title="Another", license="BSD", published={"train": 1}) == before
    with raises_error("own-description-changed", where="data set own"):
        key(splits={"val": 0.5})
    read_own(tmp_path / "b", class_folders({"train": 4}), **GREY)
    other = Datasets(tmp_path / "b" / "root", [describe(tmp_path / "d", **GREY)]).key_digest("own")
    assert other != before


def test_the_manifests_own_folder_is_read(tmp_path):
    write_folder(tmp_path / "pictures", class_folders({"test": 2}))
    manifest = describe(tmp_path / "d", folder="../pictures", **GREY)
    read.fetch(manifest, tmp_path / "root", None)
    assert len(datasets.load("own", tmp_path / "root").test.y) == 4
    assert reading_digest(manifest) == reading_digest(describe(tmp_path / "e", **GREY))


def test_links_that_no_template_reaches_are_left_alone(tmp_path):
    source = write_folder(tmp_path / "source", class_folders({"train": 2}))
    (source / ".venv").mkdir()
    (source / "venv" / "lib").mkdir(parents=True)
    (source / "venv" / "lib64").symlink_to("lib")
    read_own(tmp_path, {}, **GREY)
    (source / "train" / "owl").symlink_to("cat")
    with raises_error("own-linked-class", where="<tmp>/source/train/owl"):
        read_own(tmp_path, {}, **GREY)


@pytest.mark.parametrize(
    ("layout", "what"),
    [
        ({"group": "{track}"}, "has no {track}"),
        ({"group": "{name.__class__}"}, "expected fields in braces"),
        ({"files": ["{class}/{a}{b}.png"]}, "expected at most 3 fields in a name, apart"),
        ({"files": ["{class}/{a}_{b}_{c}_{}.png"]}, "expected at most 3 fields in a name, apart"),
    ],
)
def test_a_template_that_cannot_be_is_refused(tmp_path, layout, what):
    with pytest.raises(UserError, match=what.replace("{", r"\{")):
        describe(tmp_path, layouts=[{"class_folders": layout}])


def test_a_long_name_that_fits_in_many_ways_takes_no_time(tmp_path):
    files = ["{split}/{class}_{}_{}/{a}_{b}_{}.png", "{split}/{class}/{name}"]
    odd = {f"train/{'_' * 200}/{'_' * 200}.txt": b""}
    source = class_folders({"train": 2, "test": 1}) | odd
    begun = time.perf_counter()
    read_own(tmp_path, source, layouts=[{"class_folders": {"files": files}}], **GREY)
    assert time.perf_counter() - begun < 5


def test_a_split_may_begin_as_another(tmp_path):
    layout = {"parts": {"train": ["t", "training"], "test": ["te", "t2"]}}
    source = {name.replace("train/", "training/").replace("test/", "t2/"): blob
              for name, blob in class_folders({"train": 2, "test": 1}).items()}  # fmt: skip
    splits = read_own(tmp_path, source, layouts=[{"class_folders": layout}], **GREY)
    assert [len(split.y) for split in parts(splits).values()] == [4, 0, 2]
