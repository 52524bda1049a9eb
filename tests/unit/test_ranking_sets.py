"""Ranking sets that are fetched: true to their lists, cut by what is compared, lines kept."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from harness import datasets, hoststages
from harness.commands import data as command
from harness.datasets import comparisons, gallery, photographs, pubfig, signs
from harness.datasets.base import DataMissing, Split, Splits
from harness.datasets.judgements import turned
from harness.errors import UserError
from harness.workspace import Workspace

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("GAUNTLET_SHARED", REPOSITORY.parent / "shared" / "data"))

Files = dict[str, bytes]


def shared(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there: set GAUNTLET_SHARED to a folder that has it")
    return SHARED / name


def parts(splits: Splits) -> dict[str, Split]:
    return {"train": splits.train, "val": splits.val, "test": splits.test}


def write(folder: Path, files: Files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, blob in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(blob)
    return folder


def write_tar(path: Path, files: Files) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, blob in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(blob)
            tar.addfile(info, io.BytesIO(blob))
    return path


def fetch(name: str, root: Path, source: Path | None) -> Splits:
    dataset = datasets.get(name)
    assert dataset.fetch is not None
    dataset.fetch(root, source)
    return datasets.load(name, root)


def refused(name: str, tmp_path: Path, files: Files, says: str) -> str:
    """The one line that a broken source gets; nothing is left behind."""
    source = write(tmp_path / "source", files)
    with pytest.raises(UserError, match=says) as caught:
        fetch(name, tmp_path / "root", source)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "root").iterdir()) == []
    return str(caught.value)


def manifest(root: Path, name: str) -> dict:
    return json.loads((root / name / "manifest.json").read_text())


def image(name: str, size: tuple[int, int] = (20, 30), form: str = "PNG") -> bytes:
    """A flat picture of a colour of its own."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour(name)).save(buffer, form)
    return buffer.getvalue()


def colour(name: str) -> tuple[int, int, int]:
    code = sum(map(ord, name)) * 37
    return code % 256, code // 3 % 256, code // 7 % 256


def groups(split: Split) -> list[tuple]:
    """What each row compares, whichever stands first."""
    return [(*row[:-4], *sorted(row[-4:-2]), row[-1]) for row in split.y.tolist()]


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
    fetch("age", root, write(tmp_path_factory.mktemp("age"), AGE | AGE_IMAGES))
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
    splits = fetch("age", tmp_path, write(tmp_path / "s", AGE | AGE_IMAGES | {
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
        write(source, authors | AGE_IMAGES)
    elif form == "lower":
        write(source, AGE | {f"images/{n}.jpg".lower(): image(n) for n in FACES})
    elif form == "archive":
        write_tar(source / "a.tar.gz", {f"./pairs/age/{n}": blob for n, blob in AGE.items()})
        write(source, AGE_IMAGES)
    else:
        below = "age/" if form == "age/" else "data/age/"
        files = (AGE if form == "age/" else authors) | AGE_IMAGES
        write(source, {f"{below}{name}": blob for name, blob in files.items()})
    fetch("age-unvoted", tmp_path / "root", source)
    assert datasets.digest("age", tmp_path / "root") == datasets.digest("age", age_root)


def test_the_command_names_the_place_that_two_sets_share(tmp_path):
    said = io.StringIO()
    workspace = Workspace(tmp_path, tmp_path / "home")
    rows = "".join(f"001A02.JPG,002A05.JPG,1,{n},1\n003A10.JPG,00{n}A0{n}.JPG,-1,0,1\n"
                   for n in range(4, 10))  # fmt: skip
    images = {f"imgs/00{n}A0{n}.JPG": image(str(n)) for n in range(4, 10)}
    files = {"train/clean_0.txt": rows.encode(), "test.txt": AGE["test_age.txt"]}
    source = write(tmp_path / "source", files | AGE_IMAGES | images)
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
    fetch("age", tmp_path, write(tmp_path / "source", AGE | AGE_IMAGES))
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
    return write(folder, {f"imgs/{one}": image(one, (4, 4)) for one in names})


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


def test_food_with_a_test_list_and_repeated_rows(tmp_path):
    triplets = [(a, p, q) for a in range(8) for p in range(8) for q in range(8)
                if len({a, p, q}) == 3]  # fmt: skip
    train = "".join(f"{a},{p},{q},1\n" for a, p, q in triplets if a < 6)
    test = "".join(f"{a},{p},{q},1\n" for a, p, q in triplets if a >= 6)
    files = {"data/food/train/clean_0.txt": train + train, "data/food/test.txt": test}
    source = write(tmp_path / "source", {name: text.encode() for name, text in files.items()})
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
    fetch("food", tmp_path / "root", write(tmp_path / "source", files))
    note = manifest(tmp_path / "root", "food")["note"]
    assert note == "1 test rows compare what train compares"


# PubFig


def test_real_pubfig_is_ranked_as_its_people_are(tmp_path):
    from scipy.io import loadmat

    source = shared("ranking")
    splits = fetch("pubfig", tmp_path, source)
    file = loadmat(source / pubfig.FILE)
    train = file["used_for_training"].ravel() == 1
    rank = file["relative_ordering"].astype(int)[:, file["class_labels"].ravel() - 1]
    rows = {"train": np.flatnonzero(train), "val": np.flatnonzero(train),
            "test": np.flatnonzero(~train)}  # fmt: skip
    low, high = file["feat"][train].min(axis=0), file["feat"][train].max(axis=0)
    for part, split in parts(splits).items():
        assert split.x.dtype == np.float32
        assert (split.x.min(), split.x.max()) == (0, 1)
        raw = file["feat"][rows[part]]
        inside = (raw >= low) & (raw <= high)
        assert np.allclose(split.x[inside], ((raw - low) / (high - low))[inside], atol=1e-6)
        for u, v, label, attribute in split.y.tolist():
            ranks = rank[attribute][rows[part]]
            assert label == np.sign(ranks[u] - ranks[v])
        assert np.bincount(split.y[:, 3]).tolist() == [pubfig.PAIRS[part]] * 11
        assert len(set(groups(split))) == len(split.y)
    assert not set(groups(splits.train)) & set(groups(splits.val))
    assert [len(split.x) for split in parts(splits).values()] == [241, 241, 531]


@pytest.mark.parametrize("blob", [None, b"", b"MATLAB 5.0 MAT-file" + bytes(300)])
def test_broken_pubfig_is_one_line(blob, tmp_path):
    files = {} if blob is None else {pubfig.FILE: blob}
    refused("pubfig", tmp_path, files, "has no pubfig_data.mat" if blob is None else "cannot be r")


# Speed limits


def sign(limit: int, size: int = 32) -> bytes:
    return image(f"sign {limit}", (size, size), "PPM")


def sign_files(below: str = "GTSRB/") -> Files:
    files = {}
    for label in photographs.LIMITS:
        for track in range(10):
            for frame in range(3):
                name = f"{label:05d}/{track:05d}_{frame:05d}.ppm"
                files[f"{below}Final_Training/Images/{name}"] = sign(label, 32 + track)
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for n, label in enumerate([*photographs.LIMITS, 14, 9]):
        files[f"{below}Final_Test/Images/{n:05d}.ppm"] = sign(label)
        rows.append(f"{n:05d}.ppm;32;32;0;0;32;32;{label}")
    rows.append("00099.ppm;32;32;0;0;32;32;1")  # listed, but not in this copy
    files[f"{below}Final_Test/GT-final_test.csv"] = "\n".join(rows).encode()
    files[f"{below}Final_Training/Images/00014/00000_00000.ppm"] = b"never read"
    return files


@pytest.fixture(scope="module")
def sign_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    fetch("gtsrb-speed", root, write(tmp_path_factory.mktemp("signs"), sign_files()))
    return root


def test_small_signs_are_ranked_by_their_number(sign_root):
    splits = datasets.load("gtsrb-speed", sign_root)
    assert [s.x.shape for s in parts(splits).values()] == [
        (8 * 9 * 3, 3, 32, 32), (8 * 3, 3, 32, 32), (8, 3, 32, 32),
    ]  # fmt: skip
    limit_of = {colour(f"sign {label}"): limit for label, limit in photographs.LIMITS.items()}
    for split in parts(splits).values():
        limits = [limit_of[tuple(item[:, 0, 0].tolist())] for item in split.x]
        assert set(limits) == set(photographs.LIMITS.values())
        for u, v, label, attribute in split.y.tolist():
            assert (label, attribute) == (np.sign(limits[u] - limits[v]), 0)
        assert len(set(groups(split))) == len(split.y)
    assert len(splits.train.y) == 4000
    assert len(splits.test.y) == 28  # all of them
    assert "28 of 2,000 test pairs" in manifest(sign_root, "gtsrb-speed")["note"]


@pytest.mark.parametrize("form", ["archive", "torchvision", "no top folder"])
def test_every_form_of_signs_gives_the_same_arrays(form, sign_root, tmp_path):
    source = tmp_path / "source"
    if form == "archive":
        write_tar(source / "a.tar.gz", sign_files("./GTSRB/"))
    else:
        files = sign_files("" if form == "no top folder" else "gtsrb/GTSRB/")
        if form == "torchvision":
            table = files.pop("gtsrb/GTSRB/Final_Test/GT-final_test.csv")
            files = {n.replace("Final_Training/Images", "Training"): b for n, b in files.items()}
            files["gtsrb/GT-final_test.csv"] = table
        write(source, files)
    fetch("gtsrb-speed", tmp_path / "root", source)
    name = "gtsrb-speed"
    assert datasets.digest(name, tmp_path / "root") == datasets.digest(name, sign_root)


def test_signs_are_downloaded_by_torchvision(sign_root, tmp_path, monkeypatch):
    import torchvision.datasets

    def download(folder, split, download):
        assert download
        if split == "train":
            write(Path(folder), sign_files("gtsrb/GTSRB/"))

    monkeypatch.setattr(torchvision.datasets, "GTSRB", download)
    fetch("gtsrb-speed", tmp_path, None)
    assert datasets.digest("gtsrb-speed", tmp_path) == datasets.digest("gtsrb-speed", sign_root)

    def offline(folder, split, download):
        raise OSError("no route\nto host")

    monkeypatch.setattr(torchvision.datasets, "GTSRB", offline)
    with pytest.raises(UserError, match=r"the download failed \(no route to host\); try again"):
        fetch("gtsrb-speed", tmp_path, None)


def broken_signs() -> dict[str, tuple[Files, str]]:
    """Case → files that replace good ones (``b""``: removed), what to say."""
    table, first = "GTSRB/Final_Test/GT-final_test.csv", "GTSRB/Final_Training/Images/00001/"
    return {
        "no table": ({table: b""}, "has no GT-final_test.csv"),
        "table": ({table: b"Filename;Class\n0;1\n"}, "is not a table with Filename and ClassId"),
        "class": ({table: b"Filename;ClassId\n0;one\n"}, "is not a table with Filename and Cla"),
        "image": ({f"{first}00000_00000.ppm": b"P6 x"}, "00000_00000.ppm: is not a whole PPM"),
        "twice": ({f"{first}00000_00000.ppm"[6:]: sign(1)}, "is also .*leave one of them"),
        "no test": ({table: b"Filename;ClassId\n00000.ppm;14\n"}, "has no two test signs"),
    }


@pytest.mark.parametrize("case", broken_signs())
def test_broken_signs_are_one_clear_line(case, tmp_path):
    changed, says = broken_signs()[case]
    files = {name: blob for name, blob in (sign_files() | changed).items() if blob}
    refused("gtsrb-speed", tmp_path, files, says)


def test_real_signs_are_cut_by_track(tmp_path):
    source = shared("gtsrb")
    found = list(photographs.signs_of(source, photographs.table_of(source)))
    splits = signs._cut(found)
    assert {part: len(own) for part, own in splits.items()} == {
        "train": 718,
        "val": 82,
        "test": 981,
    }
    tracks = {part: {one.track for one in own} for part, own in splits.items()}
    assert not tracks["train"] & tracks["val"]
    for own in splits.values():
        assert {one.limit for one in own} == set(photographs.LIMITS.values())
    stored = fetch("gtsrb-speed", tmp_path, source)
    assert [len(s.y) for s in parts(stored).values()] == [4000, 400, 2000]
    assert all(abs(s.y[:, 2].mean()) < 0.1 for s in parts(stored).values())


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
    fetch("food", tmp_path / "root", write(tmp_path / "s", {"clean_0.txt": train.encode()}))
    recipe = {"name": "food", "train_fraction": 0.5}
    hoststages.data(recipe, {}, tmp_path / "out", tmp_path / "root")
    assert np.load(tmp_path / "out/train/x.npy").tolist() == list(range(100))
    assert len(np.load(tmp_path / "out/train/y.npy")) == 36
    inputs = {"data": tmp_path / "out/test", "spec": tmp_path / "out"}
    hoststages.slice_({"examples": 5}, inputs, tmp_path / "slice", tmp_path)
    assert np.load(tmp_path / "slice/x/x.npy").shape == (100,)
    assert np.load(tmp_path / "slice/y/y.npy").shape == (5, 5)
