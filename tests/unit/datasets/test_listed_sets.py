"""Ranking sets that are fetched: true to their lists, cut by what is compared, lines kept."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from harness import datasets
from harness.commands import data as command
from harness.common.errors import UserError
from harness.datasets.base import DataMissing
from harness.datasets.ranking import comparisons, gallery
from harness.judge.metrics import turned
from harness.running import host_stages
from harness.workspace import Workspace
from tests.support.sources import (
    Files,
    colour,
    fetch,
    groups,
    image,
    manifest,
    parts,
    refused,
    shared,
    write_folder,
    write_tar,
)

# Age: a small copy

AGE_TRAIN = (
    "001A02.JPG,002A05.JPG,1,0,2\n"
    "001A02.JPG,002A05.JPG,-1,0,3\n"
    "003A10.JPG,001A02.JPG,-1,1,5\n"
    "002A05.JPG,003A10.JPG,1,2,4\n"
    "002A05.JPG,003A10.JPG,-1,2,1\n"
)
AGE = {
    "train_unvoted_age.txt": AGE_TRAIN.encode(),
    "val_age.txt": b"011A01.JPG,012A02.JPG,1,0,1\n",
    "test_age.txt": b"012A02.JPG,013A01.JPG,-1,0,1\n011A01.JPG,012A02.JPG,1,1,1\n",
}
FACES = ("001A02", "002A05", "003A10", "011A01", "012A02", "013A01")
AGE_IMAGES = {f"imgs/{name}.JPG": image(name) for name in FACES}


@pytest.fixture(scope="module")
def age_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    fetch("age", root, write_folder(tmp_path_factory.mktemp("age"), AGE | AGE_IMAGES))
    return root


def test_small_age_is_read_as_it_is(age_root):
    every, voted = (datasets.load(name, age_root) for name in ("age-unvoted", "age"))
    assert every.train.y.tolist() == [
        [0, 1, 1, 0], [0, 1, -1, 0], [2, 0, -1, 0], [1, 2, 1, 0], [1, 2, -1, 0],
    ]  # fmt: skip
    assert voted.train.y.tolist() == [[0, 1, -1, 0], [2, 0, -1, 0], [1, 2, 1, 0]]
    assert voted.test.y.tolist() == every.test.y.tolist() == [[1, 2, -1, 0], [0, 1, 1, 0]]
    assert voted.spec == every.spec
    assert (voted.spec["outputs"], voted.spec["arity"], voted.spec["items"]) == (1, 2, None)
    assert voted.spec["shape"] == [3, 224, 224]
    assert datasets.digest("age", age_root) != datasets.digest("age-unvoted", age_root)


def test_images_are_resized_without_a_crop(age_root):
    splits = datasets.load("age", age_root)
    names = {"train": FACES[:3], "val": FACES[3:5], "test": FACES[3:]}
    for part, split in parts(splits).items():
        assert (split.x.shape, split.x.dtype) == ((len(names[part]), 3, 224, 224), np.uint8)
        assert isinstance(split.x, np.memmap)
        for row, name in zip(split.x, names[part], strict=True):
            assert np.array_equal(
                row, np.broadcast_to(np.reshape(colour(name), (3, 1, 1)), row.shape)
            )


def test_a_resized_image_is_pillows(tmp_path):
    gradient = np.add.outer(np.arange(60), np.arange(40)).astype(np.uint8)[..., None]
    picture = Image.fromarray(np.concatenate([gradient, 2 * gradient, 255 - gradient], axis=2))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    splits = fetch("age", tmp_path, write_folder(tmp_path / "s", AGE | AGE_IMAGES | {
        "imgs/001A02.JPG": buffer.getvalue()}))  # fmt: skip
    wanted = np.asarray(picture.resize((224, 224), Image.Resampling.BILINEAR))
    assert np.array_equal(splits.train.x[0].transpose(1, 2, 0), wanted)


def test_lines_stay_beside_their_rows(age_root):
    listed = AGE_TRAIN.splitlines(keepends=True)
    assert datasets.lines("age-unvoted", age_root) == listed
    voted = datasets.lines("age", age_root)
    assert voted == listed[1:4]
    some = datasets.load("age", age_root, 0.67)
    rows = np.flatnonzero(np.isin(datasets.load("age", age_root).train.ids, some.train.ids))
    assert len(rows) == 2
    assert datasets.lines("age", age_root, 0.67) == [voted[row] for row in rows]
    assert "".join(datasets.flip_lines("age-unvoted", listed, [0])) == AGE_TRAIN.replace(
        "2A05.JPG,1,0,2", "2A05.JPG,-1,0,2"
    )


def test_a_voted_row_keeps_its_id(age_root):
    every, voted = (datasets.load(name, age_root) for name in ("age-unvoted", "age"))
    assert np.array_equal(voted.train.ids, every.train.ids[1:4])
    ids = np.concatenate([split.ids for split in parts(every).values()])
    assert len(np.unique(ids)) == len(ids)  # also of the row that val and test both have


@pytest.mark.parametrize("form", ["authors", "authors' data folder", "age/", "archive", "lower"])
def test_every_form_of_age_gives_the_same_arrays(form, age_root, tmp_path):
    authors = dict(zip(("train/clean_0.txt", "val.txt", "test.txt"), AGE.values(), strict=True))
    source = tmp_path / "source"
    if form == "authors":
        write_folder(source, authors | AGE_IMAGES)
    elif form == "lower":
        write_folder(source, AGE | {f"images/{n}.jpg".lower(): image(n) for n in FACES})
    elif form == "archive":
        write_tar(source / "a.tar.gz", {f"./pairs/age/{n}": blob for n, blob in AGE.items()})
        write_folder(source, AGE_IMAGES)
    else:
        below = "age/" if form == "age/" else "data/age/"
        files = (AGE if form == "age/" else authors) | AGE_IMAGES
        write_folder(source, {f"{below}{name}": blob for name, blob in files.items()})
    fetch("age-unvoted", tmp_path / "root", source)
    assert datasets.digest("age", tmp_path / "root") == datasets.digest("age", age_root)


def test_the_command_names_the_place_that_two_sets_share(tmp_path):
    said = io.StringIO()
    workspace = Workspace(tmp_path, tmp_path / "home")
    rows = "".join(f"001A02.JPG,002A05.JPG,1,{n},1\n003A10.JPG,00{n}A0{n}.JPG,-1,0,1\n"
                   for n in range(4, 10))  # fmt: skip
    images = {f"imgs/00{n}A0{n}.JPG": image(str(n)) for n in range(4, 10)}
    files = {"train/clean_0.txt": rows.encode(), "test.txt": AGE["test_age.txt"]}
    source = write_folder(tmp_path / "source", files | AGE_IMAGES | images)
    command.fetch(workspace, "age-unvoted", source, Console(file=said, width=300))
    assert f"age-unvoted is in {workspace.data / 'age'} (digest" in said.getvalue()
    assert "note: val cut from the training list" in said.getvalue()
    splits = datasets.load("age-unvoted", workspace.data)
    assert (len(splits.train.y), len(splits.val.y)) == (6, 6)  # one of 7 pairs, all of its rows


def test_missing_images_are_one_line(tmp_path):
    files = {n: b for n, b in (AGE | AGE_IMAGES).items() if "002A05.J" not in n and "013" not in n}
    line = refused("age", tmp_path, files, "2 of 6 images are missing, 002A05.JPG first; put all")
    assert str(tmp_path / "source" / "imgs") in line


def broken_age() -> dict[str, tuple[Files, str]]:
    """Case → files that replace good ones, what to say."""
    row = AGE["val_age.txt"]
    return {
        "row": ({"val_age.txt": row + b"x\n"}, r"val_age.txt, row 2: has 1 field, not 5"),
        "label": ({"test_age.txt": b"a,b,2,0,1\n"}, r"test_age.txt, row 1: label '2' is neither"),
        "empty": ({"val_age.txt": b""}, "val_age.txt: holds no row"),
        "image": ({"imgs/001A02.JPG": b"GIF89a"}, "001A02.JPG: is not a whole JPEG or PNG"),
        "cut": ({"imgs/001A02.JPG": image("a")[:60]}, "001A02.JPG: is not a whole JPEG or PNG"),
    }


@pytest.mark.parametrize("case", broken_age())
def test_broken_age_is_one_clear_line(case, tmp_path):
    changed, says = broken_age()[case]
    refused("age", tmp_path, AGE | AGE_IMAGES | changed, says)


def test_what_is_lacking_is_said(tmp_path):
    refused("age", tmp_path, {"readme": b""}, "nothing in it is age; give a folder with train_unv")
    some = {"train_unvoted_age.txt": AGE["train_unvoted_age.txt"]}
    refused("age", tmp_path, some, "has only train_unvoted_age.txt; give a folder with")
    with pytest.raises(UserError, match="is not a folder"):
        fetch("age", tmp_path, tmp_path / "absent")


@pytest.mark.parametrize("name", ["age", "lfw10", "food", "pubfig"])
def test_no_download_but_a_word_where_to_get_it(name, tmp_path):
    with pytest.raises(UserError, match=f"https://.*gauntlet data fetch {name} --from DIR"):
        fetch(name, tmp_path, None)


def test_a_list_in_two_places_is_refused(tmp_path):
    write_tar(tmp_path / "source" / "a.tar.gz", AGE)
    refused("age", tmp_path, AGE | AGE_IMAGES, "is also .*leave one of them")


def test_damage_of_lines_is_found(tmp_path):
    fetch("age", tmp_path, write_folder(tmp_path / "source", AGE | AGE_IMAGES))
    path = tmp_path / "age" / "train_lines.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    for act in (datasets.load, datasets.lines):
        with pytest.raises(DataMissing, match=r"train_lines\.npy"):
            act("age-unvoted", tmp_path)


# The real lists, with images made here


def real_lists(name: str, folder: Path) -> Path:
    """The archive's lists, and a picture for every image that they name."""
    archive = shared("ranking") / "pair_annotations.tar.xz"
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    names = {
        field
        for path in (folder / "pairs" / name).glob("*.txt")
        for line in path.read_text().splitlines()
        for field in line.split(",")[:2]
    }
    return write_folder(folder, {f"imgs/{one}": image(one, (4, 4)) for one in names})


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Both sets of faces, at 8x8 pixels: what is looked at is the lists."""
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "SIZE", (8, 8))
        for name in ("age", "lfw10"):
            fetch(name, root, real_lists(name, tmp_path_factory.mktemp(name)))
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
        lines = datasets.lines(name, real)
        label = datasets.load(name, real).train.y[:, 2]
        young = [np.sign(second - first) for first, second in map(ages, lines)]
        right[name] = float(np.mean(label == np.array(young)))
    assert right["age"] == pytest.approx(0.9407, abs=5e-5)
    assert right["age-unvoted"] == pytest.approx(0.598, abs=5e-4)


def test_real_lfw10_has_the_counts_of_its_description(real):
    every, voted = (datasets.load(name, real) for name in ("lfw10-unvoted", "lfw10"))
    assert [len(s.y) for s in parts(every).values()] == [6699, 2343, 2345]
    assert [len(s.y) for s in parts(voted).values()] == [4640 - 539, 2343, 2345]
    assert [len(s.x) for s in parts(voted).values()] == [1412, 847, 846]
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
        assert datasets.lines(f"{name}-unvoted", real) == listed
        voted = iter(listed)
        assert all(line in voted for line in datasets.lines(name, real))  # in the list's order


@pytest.mark.slow
def test_lfw10_without_a_validation_list_cuts_it_from_train(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "SIZE", (8, 8))
    source = real_lists("lfw10", tmp_path / "source")
    (source / "pairs/lfw10/val_lfw.txt").unlink()
    every = fetch("lfw10-unvoted", tmp_path / "root", source)
    voted = datasets.load("lfw10", tmp_path / "root")
    assert len(every.test.y) == 4688
    assert len(every.train.y) + len(every.val.y) == 6699
    lines = list_of("lfw10/train_LFW10.txt")
    train = [tuple(line.split(",")[:2] + line.split(",")[3:4]) for line in
             datasets.lines("lfw10-unvoted", tmp_path / "root")]  # fmt: skip
    rest = Counter(tuple(line.split(",")[:2] + line.split(",")[3:4]) for line in lines)
    rest -= Counter(train)
    assert len(rest) == len(set(groups(every.val))) == 464  # a tenth, by what is compared
    assert not set(rest) & set(train)
    assert np.isin(voted.val.ids, every.val.ids).all()
    assert "val cut from the training list" in manifest(tmp_path / "root", "lfw10")["note"]


# Food


@pytest.fixture(scope="module")
def food_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    fetch("food", root, shared("ranking"))
    return root


def test_real_food_is_cut_with_both_directions_on_one_side(food_root):
    splits = datasets.load("food", food_root)
    assert [len(s.y) for s in parts(splits).values()] == [30_343, 1514, 6061]
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
    lines = datasets.lines("food", food_root)
    read = np.array([line.split(",")[:3] for line in lines], dtype=np.int64)
    assert np.array_equal(read, splits.train.y[:, :3])


@pytest.mark.parametrize("share", [0.15, 0.25, 0.35])
def test_a_flipped_list_differs_in_the_flipped_rows_and_flips_back(food_root, share):
    train, lines = datasets.load("food", food_root).train, datasets.lines("food", food_root)
    rows = np.linspace(0, len(lines) - 1, round(share * len(lines))).astype(int)
    after = train.y.copy()
    after[rows, 3] *= -1
    flipped = datasets.flip_lines("food", lines, np.flatnonzero(turned(train.y, after)))
    differ = [n for n, (a, b) in enumerate(zip(lines, flipped, strict=True)) if a != b]
    assert differ == rows.tolist()
    for row in differ:
        a, p, q, w = lines[row].split(",")
        assert flipped[row] == f"{a},{q},{p},{w}"
    assert datasets.flip_lines("food", flipped, rows) == lines


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
    assert (len(splits.train.y), len(splits.val.y)) == (252 - 10, 10)  # 5 of 126 groups
    assert not set(groups(splits.train)) & set(groups(splits.val))
    note = manifest(tmp_path / "root", "food")["note"]
    assert note == "val cut from the training list"


def test_a_list_too_short_to_be_cut_is_refused(tmp_path):
    refused("food", tmp_path, {"clean_0.txt": b"1,2,3,1\n"}, "leave none for val")
    refused("food", tmp_path, {"clean_0.txt": b"1,2,3\n"}, "clean_0.txt, row 1: has 3 fields")


def test_test_rows_that_train_compares_too_are_told(tmp_path):
    train = "".join(f"{a},{a + 1},{a + 2},1\n" for a in range(50))
    files = {"train/clean_0.txt": train.encode(), "val.txt": b"90,91,92,1\n",
             "test.txt": b"0,2,1,1\n80,81,82,1\n"}  # fmt: skip
    fetch("food", tmp_path / "root", write_folder(tmp_path / "source", files))
    note = manifest(tmp_path / "root", "food")["note"]
    assert note == "1 test rows compare what train compares"


# The table


def test_cards_state_the_true_counts(real, food_root):
    for name, root in [
        *((n, real) for n in comparisons.SHELVES if n != "food"),
        ("food", food_root),
    ]:
        size = datasets.get(name).card.size.replace(",", "")
        splits = datasets.load(name, root)
        for part, word in {"train": "train", "val": "validation", "test": "test"}.items():
            assert f"{len(parts(splits)[part].y)} {word}" in size


def test_the_data_stage_copies_items_that_are_numbers(tmp_path):
    train = "".join(f"{a},{a + 1},{a + 2},1\n" for a in range(90))
    fetch("food", tmp_path / "root", write_folder(tmp_path / "s", {"clean_0.txt": train.encode()}))
    recipe = {"name": "food", "train_fraction": 0.5}
    host_stages.data(recipe, {}, tmp_path / "out", tmp_path / "root")
    assert np.load(tmp_path / "out/train/x.npy").tolist() == list(range(100))
    assert len(np.load(tmp_path / "out/train/y.npy")) == 36
    inputs = {"data": tmp_path / "out/test", "spec": tmp_path / "out"}
    host_stages.slice_({"examples": 5}, inputs, tmp_path / "slice", tmp_path)
    assert np.load(tmp_path / "slice/x/x.npy").shape == (100,)
    assert np.load(tmp_path / "slice/y/y.npy").shape == (5, 5)
