"""Ranking sets whose comparisons are drawn: of known people, and of signs with a number."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from harness import datasets
from harness.common.errors import UserError
from harness.datasets.mat_files import read_mat
from harness.datasets.ranking import gtsrb_files, pubfig, signs
from tests.support.errors import raises_error
from tests.support.sources import (
    Files,
    color,
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


@pytest.mark.parametrize(
    ("code", "files", "where"),
    [
        ("pubfig-missing", {}, ""),
        ("pubfig-empty", {pubfig.FILE: b""}, f"/{pubfig.FILE}"),
        ("pubfig-cut", {pubfig.FILE: b"MATLAB 5.0 MAT-file" + bytes(300)}, f"/{pubfig.FILE}"),
    ],
)
def test_broken_pubfig_is_one_line(code, files, where, tmp_path):
    refused("pubfig", tmp_path, files, code, f"<tmp>/source{where}")


def mat_files() -> dict[str, dict[str, object]]:
    """Code → variables of a file that is refused."""
    people = np.arange(772) % 8 + 1
    whole = {
        "feat": np.zeros((772, 542)),
        "class_labels": people,
        "relative_ordering": np.tile(np.arange(8), (11, 1)),
        "used_for_training": np.arange(772) % 2,
    }
    return {
        "pubfig-labels-from-0": whole | {"class_labels": people - 1},
        "pubfig-labels-too-many": whole | {"class_labels": people + 1},
        "pubfig-labels-of-halves": whole | {"class_labels": people + 0.5},
        "pubfig-labels-as-text": whole | {"class_labels": np.array(["a", "b"])},
        "pubfig-struct": whole | {"feat": {"a": 1}},
        "pubfig-no-features": {key: whole[key] for key in whole if key != "feat"},
    }


@pytest.mark.parametrize("code", mat_files())
def test_variables_that_do_not_fit_are_one_line(code, tmp_path):
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, mat_files()[code])
    labels = ": class_labels" if code.startswith("pubfig-labels") and "text" not in code else ""
    where = f"<tmp>/source/{pubfig.FILE}{labels}"
    refused("pubfig", tmp_path, {pubfig.FILE: buffer.getvalue()}, code, where)


def test_version_7_3_is_named(tmp_path):
    head = b"MATLAB 7.3 MAT-file, Platform: X".ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n" + bytes(99)
    where = f"<tmp>/source/{pubfig.FILE}"
    refused("pubfig", tmp_path, {pubfig.FILE: head}, "pubfig-version-7-3", where)


def test_mutated_mat_files_are_read_or_refused(tmp_path):
    """Of such mutants of the published file, 2,549 of 3,057 ended in a traceback before."""
    from scipy.io import savemat

    buffer, path = io.BytesIO(), tmp_path / "a.mat"
    savemat(buffer, {"feat": np.arange(300.0)}, do_compression=True)
    chance, refusals = np.random.default_rng(0), []
    for _ in range(300):
        blob = bytearray(buffer.getvalue())
        for at in chance.integers(0, len(blob), 3):
            blob[at] = chance.integers(0, 256)
        path.write_bytes(blob[: chance.integers(1, len(blob))] if chance.random() < 0.2 else blob)
        try:
            read_mat(path, ["feat"])
        except UserError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert "\n" not in "".join(refusals)


# Speed limits


def sign(limit: int, size: int = 32) -> bytes:
    return image(f"sign {limit}", (size, size), "PPM")


def sign_files(below: str = "GTSRB/") -> Files:
    files = {}
    for label in gtsrb_files.LIMITS:
        for track in range(10):
            for frame in range(3):
                name = f"{label:05d}/{track:05d}_{frame:05d}.ppm"
                files[f"{below}Final_Training/Images/{name}"] = sign(label, 32 + track)
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for n, label in enumerate([*gtsrb_files.LIMITS, 14, 9]):
        files[f"{below}Final_Test/Images/{n:05d}.ppm"] = sign(label)
        rows.append(f"{n:05d}.ppm;32;32;0;0;32;32;{label}")
    rows.append("00099.ppm;32;32;0;0;32;32;1")  # listed, but not in this copy
    files[f"{below}Final_Test/GT-final_test.csv"] = "\n".join(rows).encode()
    files[f"{below}Final_Training/Images/00014/00000_00000.ppm"] = b"never read"
    return files


@pytest.fixture(scope="module")
def sign_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    fetch("gtsrb-speed", root, write_folder(tmp_path_factory.mktemp("signs"), sign_files()))
    return root


def test_small_signs_are_ranked_by_their_number(sign_root):
    splits = datasets.load("gtsrb-speed", sign_root)
    assert [s.x.shape for s in parts(splits).values()] == [
        (8 * 9 * 3, 3, 32, 32), (8 * 3, 3, 32, 32), (8, 3, 32, 32),
    ]  # fmt: skip
    limit_of = {color(f"sign {label}"): limit for label, limit in gtsrb_files.LIMITS.items()}
    for split in parts(splits).values():
        limits = [limit_of[tuple(item[:, 0, 0].tolist())] for item in split.x]
        assert set(limits) == set(gtsrb_files.LIMITS.values())
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
        write_folder(source, files)
    fetch("gtsrb-speed", tmp_path / "root", source)
    name = "gtsrb-speed"
    assert datasets.digest(name, tmp_path / "root") == datasets.digest(name, sign_root)


def test_signs_are_downloaded_by_torchvision(sign_root, tmp_path, monkeypatch):
    import torchvision.datasets

    def download(folder, split, download):
        assert download
        if split == "train":
            write_folder(Path(folder), sign_files("gtsrb/GTSRB/"))

    monkeypatch.setattr(torchvision.datasets, "GTSRB", download)
    fetch("gtsrb-speed", tmp_path, None)
    assert datasets.digest("gtsrb-speed", tmp_path) == datasets.digest("gtsrb-speed", sign_root)

    def offline(folder, split, download):
        raise OSError("no route\nto host")

    monkeypatch.setattr(torchvision.datasets, "GTSRB", offline)
    with raises_error("signs-download-failed", where="data set gtsrb-speed"):
        fetch("gtsrb-speed", tmp_path, None)


def test_table_with_commas_and_a_byte_order_mark(sign_root, tmp_path):
    table = "GTSRB/Final_Test/GT-final_test.csv"
    files = sign_files()
    files[table] = b"\xef\xbb\xbf" + files[table].replace(b";", b",").replace(b"\n", b"\r\n")
    fetch("gtsrb-speed", tmp_path / "root", write_folder(tmp_path / "source", files))
    name = "gtsrb-speed"
    assert datasets.digest(name, tmp_path / "root") == datasets.digest(name, sign_root)


def broken_signs() -> dict[str, tuple[Files, str]]:
    """Code → files that replace good ones (``b""``: removed), the place in the source."""
    table, first = "GTSRB/Final_Test/GT-final_test.csv", "GTSRB/Final_Training/Images/00001/"
    return {
        "signs-no-table": ({table: b""}, ""),
        "signs-table-columns": ({table: b"Filename;Class\n0;1\n"}, f"/{table}"),
        "signs-two-classes": (
            {table: b"Filename;ClassId\n00000.ppm;1\n00000.ppm;2\n"},
            f"/{table}",
        ),
        "signs-table-class": ({table: b"Filename;ClassId\n0;one\n"}, f"/{table}"),
        "signs-no-image": ({f"{first}00000_00000.ppm": b"P6 x"}, f"/{first}00000_00000.ppm"),
        "signs-twice": (
            {f"{first}00000_00000.ppm"[6:]: sign(1)},
            "/GTSRB/Final_Training/Images/00001/00000_00000.ppm",
        ),
        "signs-no-test": ({table: b"Filename;ClassId\n00000.ppm;14\n"}, ""),
    }


@pytest.mark.parametrize("code", broken_signs())
def test_broken_signs_are_one_clear_line(code, tmp_path):
    changed, where = broken_signs()[code]
    files = {name: blob for name, blob in (sign_files() | changed).items() if blob}
    refused("gtsrb-speed", tmp_path, files, code, f"<tmp>/source{where}")


def test_real_signs_are_cut_by_track(tmp_path):
    source = shared("gtsrb")
    found = list(gtsrb_files.read_signs(source, gtsrb_files.read_test_classes(source)))
    splits = signs._split_by_track(found)
    assert {part: len(own) for part, own in splits.items()} == {
        "train": 718,
        "val": 82,
        "test": 981,
    }
    tracks = {part: {one.track for one in own} for part, own in splits.items()}
    assert not tracks["train"] & tracks["val"]
    for own in splits.values():
        assert {one.limit for one in own} == set(gtsrb_files.LIMITS.values())
    stored = fetch("gtsrb-speed", tmp_path, source)
    assert [len(s.y) for s in parts(stored).values()] == [4000, 400, 2000]
    assert all(abs(s.y[:, 2].mean()) < 0.1 for s in parts(stored).values())
