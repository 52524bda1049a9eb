"""Ranking sets whose comparisons are drawn: of known people, and of signs with a number."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from harness import datasets
from harness.common.errors import UserError
from harness.config.dataset import Compare
from harness.datasets import read
from tests.support.archives import write_zip
from tests.support.errors import raises_error
from tests.support.own_data import describe
from tests.support.sources import (
    Files,
    color,
    description,
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

# PubFig

FILE = "pubfig_data.mat"
PAIRS = {"train": 300, "val": 60, "test": 300}


def test_real_pubfig_is_ranked_as_its_people_are(tmp_path):
    from scipy.io import loadmat

    source = shared("ranking")
    splits = fetch("pubfig", tmp_path, source)
    file = loadmat(source / FILE)
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
        assert np.bincount(split.y[:, 3]).tolist() == [PAIRS[part]] * 11
        assert len(set(groups(split))) == len(split.y)
    assert not set(groups(splits.train)) & set(groups(splits.val))
    assert [len(split.x) for split in parts(splits).values()] == [241, 241, 531]
    assert manifest(tmp_path, "pubfig")["per_class"]["val"] == [60] * 11


def test_features_in_an_archive_are_the_same(tmp_path):
    blob = mat_file(WHOLE | {"feat": np.random.default_rng(0).random((772, 542))})
    fetch("pubfig", tmp_path / "a", write_folder(tmp_path / "source", {FILE: blob}))
    write_zip(tmp_path / "packed" / "a.zip", {FILE: blob})
    fetch("pubfig", tmp_path / "b", tmp_path / "packed")
    a, b = (manifest(tmp_path / one, "pubfig") for one in "ab")
    assert {key for key in a if a[key] != b[key]} == {"source", "state"}


def test_few_items_give_few_pairs_and_that_is_said(tmp_path):
    """Of one training item of each person in four, eleven times at most 1 pair."""
    train = np.zeros(772)
    train[[0, 1]] = 1
    features = np.random.default_rng(0).random((772, 542))
    blob = mat_file(WHOLE | {"used_for_training": train, "feat": features})
    splits = fetch("pubfig", tmp_path / "a", write_folder(tmp_path / "s", {FILE: blob}))
    assert (len(splits.train.y), len(splits.val.y)) == (11, 0)
    note = manifest(tmp_path / "a", "pubfig")["note"]
    assert "few items, hence 11 of 3,300 train pairs" in note


@pytest.mark.parametrize(
    ("code", "files", "where"),
    [
        ("pubfig-missing", {"a.txt": b"a"}, ""),
        ("pubfig-empty", {FILE: b""}, f"/{FILE}"),
        ("pubfig-cut", {FILE: b"MATLAB 5.0 MAT-file" + bytes(300)}, f"/{FILE}"),
    ],
)
def test_broken_pubfig_is_one_line(code, files, where, tmp_path):
    refused("pubfig", tmp_path, files, code, f"<tmp>/source{where}")


PEOPLE = np.arange(772) % 8 + 1
WHOLE: dict[str, object] = {
    "feat": np.zeros((772, 542)),
    "class_labels": PEOPLE,
    "relative_ordering": np.tile(np.arange(8), (11, 1)),
    "used_for_training": np.arange(772) % 2,
}


def mat_file(variables: dict[str, object]) -> bytes:
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, variables)
    return buffer.getvalue()


MAT_FILES: dict[str, dict[str, object]] = {
    "pubfig-labels-from-0": WHOLE | {"class_labels": PEOPLE - 1},
    "pubfig-labels-too-many": WHOLE | {"class_labels": PEOPLE + 1},
    "pubfig-labels-of-halves": WHOLE | {"class_labels": PEOPLE + 0.5},
    "pubfig-labels-as-text": WHOLE | {"class_labels": np.array(["a", "b"])},
    "pubfig-struct": WHOLE | {"feat": {"a": 1}},
    "pubfig-no-features": {key: WHOLE[key] for key in WHOLE if key != "feat"},
    "pubfig-other-features": WHOLE | {"feat": np.zeros((772, 100))},
    "pubfig-other-items": WHOLE | {"feat": np.zeros((700, 542))},
    "pubfig-other-attributes": WHOLE | {"relative_ordering": np.tile(np.arange(8), (10, 1))},
    "pubfig-not-a-number": WHOLE | {"feat": np.full((772, 542), np.nan)},
    "pubfig-half-ranks": WHOLE | {"relative_ordering": np.tile(np.arange(8) / 2, (11, 1))},
    "pubfig-no-training": WHOLE | {"used_for_training": np.zeros(772)},
}
"""Code → variables of a file that is refused."""


@pytest.mark.parametrize("code", MAT_FILES)
def test_variables_that_do_not_fit_are_one_line(code, tmp_path):
    labels = ": class_labels" if code.startswith("pubfig-labels") and "text" not in code else ""
    where = f"<tmp>/source/{FILE}{labels}"
    refused("pubfig", tmp_path, {FILE: mat_file(MAT_FILES[code])}, code, where)


def test_version_7_3_is_named(tmp_path):
    head = b"MATLAB 7.3 MAT-file, Platform: X".ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n" + bytes(99)
    where = f"<tmp>/source/{FILE}"
    refused("pubfig", tmp_path, {FILE: head}, "pubfig-version-7-3", where)


# Speed limits


def sign(limit: int, size: int = 32) -> bytes:
    return image(f"sign {limit}", (size, size), "PPM")


LIMITS = {0: 20, 1: 30, 2: 50, 3: 60, 4: 70, 5: 80, 7: 100, 8: 120}
"""Class of GTSRB → speed limit on the sign in km/h."""


def test_the_description_has_the_limits():
    compare = description("gtsrb-speed").compare
    assert isinstance(compare, Compare)
    assert compare.values == {str(label): limit for label, limit in LIMITS.items()}


def sign_files(below: str = "GTSRB/") -> Files:
    files = {}
    for label in [*LIMITS, 14]:
        own = [f"{track:05d}_{frame:05d}.ppm" for track in range(10) for frame in range(3)]
        rows = ["Filename;ClassId", *(f"{name};{label}" for name in own)]
        folder = f"{below}Final_Training/Images/{label:05d}"
        files[f"{folder}/GT-{label:05d}.csv"] = "\n".join(rows).encode()
        if label == 14:
            files[f"{folder}/00000_00000.ppm"] = b"never read"
            continue
        for track in range(10):
            for frame in range(3):
                files[f"{folder}/{track:05d}_{frame:05d}.ppm"] = sign(label, 32 + track)
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for n, label in enumerate([*LIMITS, 14, 9]):
        files[f"{below}Final_Test/Images/{n:05d}.ppm"] = sign(label)
        rows.append(f"{n:05d}.ppm;32;32;0;0;32;32;{label}")
    rows.append("00099.ppm;32;32;0;0;32;32;1")  # listed, but not in this copy
    files[f"{below}Final_Test/GT-final_test.csv"] = "\n".join(rows).encode()
    return files


@pytest.fixture(scope="module")
def sign_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    fetch("gtsrb-speed", root, write_folder(tmp_path_factory.mktemp("signs"), sign_files()))
    return root


def digest(root: Path) -> str:
    return manifest(root, "gtsrb-speed")["sha256"]


def test_small_signs_are_ranked_by_their_number(sign_root):
    splits = datasets.load("gtsrb-speed", sign_root)
    assert [s.x.shape for s in parts(splits).values()] == [
        (8 * 9 * 3, 3, 32, 32), (8 * 3, 3, 32, 32), (8, 3, 32, 32),
    ]  # fmt: skip
    limit_of = {color(f"sign {label}"): limit for label, limit in LIMITS.items()}
    for split in parts(splits).values():
        limits = [limit_of[tuple(item[:, 0, 0].tolist())] for item in split.x]
        assert set(limits) == set(LIMITS.values())
        for u, v, label, attribute in split.y.tolist():
            assert (label, attribute) == (np.sign(limits[u] - limits[v]), 0)
        assert len(set(groups(split))) == len(split.y)
    assert len(splits.train.y) == 4000
    assert len(splits.test.y) == 28  # all of them
    note = manifest(sign_root, "gtsrb-speed")["note"]
    assert "few pictures, hence 28 of 2,000 test pairs" in note
    assert "30 of 281 listed pictures are not there" in note


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
        write_folder(source, files)
    fetch("gtsrb-speed", tmp_path / "root", source)
    assert digest(tmp_path / "root") == digest(sign_root)


def test_signs_are_downloaded_by_torchvision(sign_root, tmp_path, monkeypatch):
    import torchvision.datasets

    def download(folder, *, split, download):
        assert download
        if split == "train":
            write_folder(Path(folder), sign_files("gtsrb/GTSRB/"))

    monkeypatch.setattr(torchvision.datasets, "GTSRB", download)
    fetch("gtsrb-speed", tmp_path, None)
    assert digest(tmp_path) == digest(sign_root)

    def offline(folder, *, split, download):
        raise OSError("no route\nto host")

    monkeypatch.setattr(torchvision.datasets, "GTSRB", offline)
    with raises_error("signs-download-failed", where="data set gtsrb-speed"):
        fetch("gtsrb-speed", tmp_path, None)


@pytest.mark.parametrize("name", ["utils", "ImageFolder", "NoSuchSet", "__doc__"])
def test_what_torchvision_cannot_download_is_refused(tmp_path, name):
    own = describe(tmp_path, download={"torchvision": name})
    with pytest.raises(UserError, match=f"nothing to download that is called {name}"):
        read.fetch(own, tmp_path / "root", None)


def test_a_split_that_torchvision_does_not_know_is_said(tmp_path):
    own = describe(tmp_path, download={"torchvision": "GTSRB", "splits": ["nope"]})
    with pytest.raises(UserError, match=r"the download failed .*nope"):
        read.fetch(own, tmp_path / "root", None)


def test_table_with_commas_and_a_byte_order_mark(sign_root, tmp_path):
    table = "GTSRB/Final_Test/GT-final_test.csv"
    files = sign_files()
    files[table] = b"\xef\xbb\xbf" + files[table].replace(b";", b",").replace(b"\n", b"\r\n")
    fetch("gtsrb-speed", tmp_path / "root", write_folder(tmp_path / "source", files))
    assert digest(tmp_path / "root") == digest(sign_root)


def test_broken_signs_are_one_clear_line(tmp_path):
    first = "GTSRB/Final_Training/Images/00001/00000_00000.ppm"
    refused("gtsrb-speed", tmp_path / "a", sign_files() | {first: b"P6 x"}, "signs-no-image",
            f"<tmp>/a/source/{first}")  # fmt: skip
    table = {"GTSRB/Final_Test/GT-final_test.csv": b"Filename;ClassId\n00000.ppm;14\n"}
    refused("gtsrb-speed", tmp_path / "b", sign_files() | table, "signs-no-test",
            "<tmp>/b/source")  # fmt: skip


def test_real_signs_are_cut_by_track(tmp_path):
    splits = fetch("gtsrb-speed", tmp_path, shared("gtsrb"))
    # a track has several of the 100 pictures of a class; a tenth of each class's tracks is cut
    assert [len(s.x) for s in parts(splits).values()] == [714, 86, 981]
    tracks = {part: set(np.load(tmp_path / f"gtsrb-speed/{part}_groups.npy").tolist())
              for part in ("train", "val")}  # fmt: skip
    assert not tracks["train"] & tracks["val"]
    assert [len(s.y) for s in parts(splits).values()] == [4000, 400, 2000]
    assert all(abs(s.y[:, 2].mean()) < 0.1 for s in parts(splits).values())
