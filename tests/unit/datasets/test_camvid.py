"""CamVid: read from a user's copy, true to it pixel by pixel; labels are never mixed."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from harness import datasets
from harness.commands import data as command
from harness.common.keys import ROOT
from harness.datasets import read, walk
from harness.datasets.base import DataMissing
from harness.datasets.files import source_files
from harness.datasets.hashing import hash_order
from harness.planning.recipe import DataRecipe
from harness.running import host_stages
from harness.runtime.contracts import Spec
from harness.workspace import Workspace
from tests.support.errors import raises_error
from tests.support.road_scenes import colors, labels, png
from tests.support.sources import (
    Files,
    description,
    fetch,
    key,
    manifest,
    parts,
    refused,
    shared,
    write_folder,
    write_tar,
)

CAMVID_NAMES = {
    "train": ["0016E5_00001", "0006R0_f00930", "0001TP_006690"],
    "val": ["0016E5_07959", "0016E5_07961"],
    "test": ["Seq05VD_f00000", "0001TP_008550", "Seq05VD_f00030"],
}
"""Not in order."""


def camvid(below: str = "") -> Files:
    files = {}
    for part, names in CAMVID_NAMES.items():
        for name in names:
            image, label = colors(name, 360, 480), labels(name, 360, 480, [*range(12)])
            files[f"{below}{part}/{name}.png"] = png(image)
            files[f"{below}{part}annot/{name}.png"] = png(label)
    return files


@pytest.fixture(scope="module")
def camvid_source(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("camvid"), camvid())


@pytest.fixture(scope="module")
def camvid_root(camvid_source, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    fetch("camvid", root, camvid_source)
    return root


def test_camvid_is_true_to_its_files(camvid_root):
    splits = datasets.load("camvid", camvid_root)
    for part, split in parts(splits).items():
        names = sorted(CAMVID_NAMES[part])
        assert split.x.shape == (len(names), 3, 360, 480)
        assert split.y.shape == (len(names), 360, 480)
        assert (split.x.dtype, split.y.dtype, split.ids.dtype) == (np.uint8, np.uint8, np.int64)
        for row, name in enumerate(names):
            assert np.array_equal(split.x[row].transpose(1, 2, 0), colors(name, 360, 480))
            label = labels(name, 360, 480, [*range(12)])
            assert np.array_equal(split.y[row], np.where(label == 11, 255, label))


def test_camvid_spec(camvid_root):
    spec = datasets.load("camvid", camvid_root).spec
    assert set(spec) | {"stored"} == {field.name for field in dataclasses.fields(Spec)}
    assert json.loads(json.dumps(spec)) == spec
    assert (spec["task"], spec["outputs"], spec["void"]) == ("segmentation", 11, 255)
    assert spec["shape"] == [3, 360, 480]
    assert spec["classes"] == [
        "sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence", "car",
        "pedestrian", "bicyclist",
    ]  # fmt: skip


def test_ids_are_unique_and_whole_numbers_of_48_bits(camvid_root):
    splits = datasets.load("camvid", camvid_root)
    ids = np.concatenate([split.ids for split in parts(splits).values()])
    assert len(np.unique(ids)) == 8
    assert ids.min() >= 0
    assert ids.max() < 1 << 48
    digest = hashlib.sha256(b"camvid/0016E5_07959").hexdigest()
    assert splits.val.ids[0] == int(digest[:12], 16)  # pinned: ids are never reassigned


def test_a_subset_has_the_ids_of_the_whole_and_says_so(camvid_root, tmp_path):
    files = {name: blob for name, blob in camvid().items() if "Seq05VD_f00000" not in name}
    small = fetch("camvid", tmp_path / "root", write_folder(tmp_path / "source", files))
    whole = datasets.load("camvid", camvid_root)
    rows = np.isin(whole.test.ids, small.test.ids)
    assert rows.sum() == 2
    assert np.array_equal(whole.test.ids[rows], small.test.ids)
    assert np.array_equal(whole.test.x[rows], small.test.x)
    assert np.array_equal(whole.train.ids, small.train.ids)
    record = manifest(tmp_path / "root", "camvid")
    said = "3 of 367 train examples, 2 of 101 val examples, 2 of 233 test examples"
    assert said in record["note"]
    assert record["counts"] == {"train": 3, "val": 2, "test": 2}
    assert key("camvid", camvid_root) != key("camvid", tmp_path / "root")


def test_the_command_says_what_is_missing_of_the_set(camvid_source, tmp_path):
    said = io.StringIO()
    workspace = Workspace(ROOT, tmp_path / "home")
    command.fetch(workspace, "camvid", camvid_source, Console(file=said, width=200))
    assert "not the published set" in said.getvalue()
    command.print_cards(workspace, Console(file=said, width=200))
    assert "this copy: not the published set" in said.getvalue()


def test_the_whole_set_needs_no_note(camvid_source, tmp_path):
    whole = description("camvid").published.model_copy(update={"train": 3, "val": 2, "test": 3})
    read.fetch(
        description("camvid").model_copy(update={"published": whole}), tmp_path, camvid_source
    )
    assert manifest(tmp_path, "camvid")["note"] == ""


@pytest.mark.parametrize("form", ["below", "xz", "gz below", "reversed", "images and labels"])
def test_every_form_of_camvid_gives_the_same_arrays(form, camvid_root, tmp_path):
    source, files = tmp_path / "source", camvid("CamVid/" if "below" in form else "")
    if form == "below":
        write_folder(source, files)
    elif form == "images and labels":
        for word, wanted in (("images", False), ("labels", True)):
            some = {name: blob for name, blob in files.items() if ("annot" in name) == wanted}
            write_tar(source / f"{word}.tar.gz", some)
    elif form == "reversed":
        write_tar(source / "a.tar.gz", dict(reversed(files.items())))
    else:
        write_tar(source / f"a.tar.{form[:2]}", files)
    fetch("camvid", tmp_path / "root", source)
    assert key("camvid", tmp_path / "root") == key("camvid", camvid_root)
    expected = {"CamVid/"} if form == "below" else {p.name for p in source.iterdir()}
    assert set(manifest(tmp_path / "root", "camvid")["files"]) == expected


def test_arrays_are_mapped_not_read(camvid_root):
    splits = datasets.load("camvid", camvid_root)
    for split in parts(splits).values():
        assert isinstance(split.x, np.memmap)
        assert isinstance(split.y, np.memmap)
        assert not split.x.flags.writeable


def test_a_share_of_train(camvid_root):
    whole, some = (datasets.load("camvid", camvid_root, share) for share in (1.0, 0.4))
    (row,) = hash_order(whole.train.ids, "train_fraction")[:1]
    assert some.train.ids.tolist() == [whole.train.ids[row]]
    assert np.array_equal(some.train.x, whole.train.x[[row]])


def test_the_data_stage_copies_it(camvid_root, tmp_path):
    host_stages.data(DataRecipe("camvid", "x", 1.0), {}, tmp_path, camvid_root)
    for part, split in parts(datasets.load("camvid", camvid_root)).items():
        for field in ("x", "y", "ids"):
            copied = np.load(tmp_path / part / f"{field}.npy")
            assert np.array_equal(copied, getattr(split, field))


def test_damage_after_the_fetch_is_found(camvid_source, tmp_path):
    fetch("camvid", tmp_path, camvid_source)
    path = tmp_path / "camvid" / "val_y.npy"
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(blob)
    with raises_error("fetched-array-damaged", where="data set camvid") as caught:
        datasets.load("camvid", tmp_path)
    assert isinstance(caught.value, DataMissing)


def broken_camvid() -> dict[str, tuple[Files, str]]:
    """Code → files that replace good ones (``b""``: removed), the place in the source."""
    image, label = "train/0016E5_00001.png", "trainannot/0016E5_00001.png"
    grey, colour = np.zeros((360, 480), dtype=np.uint8), colors("x", 360, 480)
    wrong = grey.copy()
    wrong[7, 9] = 12
    return {
        "camvid-no-label": ({label: b""}, image),
        "camvid-no-image": ({image: b""}, label),
        "camvid-image-size": ({image: png(colour[:240])}, image),
        "camvid-label-size": ({label: png(grey[:, :240])}, label),
        "camvid-turned": ({image: png(colour.transpose(1, 0, 2))}, image),
        "camvid-label": ({label: png(wrong)}, label),
        "camvid-void-of-others": ({label: png(grey + 255)}, label),
        "camvid-colour-label": ({label: png(colour)}, label),
        "camvid-deep-label": ({label: png(grey.astype(np.uint16))}, label),
        "camvid-jpeg": ({image: b"\xff\xd8\xff\xe0"}, image),
        "camvid-cut": ({image: camvid()[image][:200]}, image),
        "camvid-two-parts": (
            {"test/0016E5_00001.png": png(colour), "testannot/0016E5_00001.png": png(grey)},
            "train/0016E5_00001.png",
        ),
        "camvid-two-places": ({f"CamVid/{image}": png(colour)}, image),
    }


@pytest.mark.parametrize("code", broken_camvid())
def test_broken_camvid_is_one_clear_line(code, tmp_path):
    changed, where = broken_camvid()[code]
    files = {name: blob for name, blob in (camvid() | changed).items() if blob}
    both = 2 if code.endswith("parts") else 1  # picture and class map
    refused("camvid", tmp_path, files, code, f"<tmp>/source/{where}", mistakes=both)


def test_broken_file_in_an_archive_is_named(tmp_path):
    files = camvid() | {"test/0001TP_008550.png": b"GIF89a"}
    write_tar(tmp_path / "source" / "a.tar.gz", files)
    refused(
        "camvid",
        tmp_path,
        {},
        "camvid-no-image-in-archive",
        "<tmp>/source/a.tar.gz: test/0001TP_008550.png",
    )


def test_cut_archive_and_folder_beside_its_archive_are_refused(tmp_path):
    path = write_tar(tmp_path / "source" / "a.tar.gz", camvid())
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    refused("camvid", tmp_path, {}, "camvid-cut-archive", "<tmp>/source/a.tar.gz")
    path.write_bytes(whole)
    refused(
        "camvid",
        tmp_path,
        camvid(),
        "camvid-archive-beside",
        "<tmp>/source/a.tar.gz: train/0016E5_00001.png",
        mistakes=len(camvid()),
    )


def test_missing_part_is_named(tmp_path):
    files = {name: blob for name, blob in camvid().items() if not name.startswith("val")}
    splits = fetch("camvid", tmp_path / "root", write_folder(tmp_path / "source", files))
    assert [len(split.ids) for split in parts(splits).values()] == [3, 0, 3]
    assert "0 of 101 val examples" in manifest(tmp_path / "root", "camvid")["note"]


def test_names_of_parts_are_read_in_any_case(camvid_root, tmp_path):
    files = {name[:1].upper() + name[1:]: blob for name, blob in camvid().items()}
    files = {name.replace("annot/", "Annot/"): blob for name, blob in files.items()}
    fetch("camvid", tmp_path / "root", write_folder(tmp_path / "source", files))
    assert key("camvid", tmp_path / "root") == key("camvid", camvid_root)


def test_other_files_do_not_matter(camvid_root, tmp_path):
    extra = {"train.txt": b"x", "train/._0016E5_00001.png": b"x", "other/0.png": b"x"}
    fetch("camvid", tmp_path / "root", write_folder(tmp_path / "source", camvid() | extra))
    assert key("camvid", tmp_path / "root") == key("camvid", camvid_root)


@pytest.mark.parametrize(
    ("name", "code", "no_folder"),
    [
        ("camvid", "camvid-nowhere", "camvid-from-no-folder"),
        ("cityscapes", "cityscapes-nowhere", "cityscapes-from-no-folder"),
    ],
)
def test_nothing_of_it_there(name, code, no_folder, tmp_path):
    refused(name, tmp_path, {"readme.txt": b""}, code)
    with raises_error(no_folder, where="<tmp>/absent"):
        fetch(name, tmp_path / "root", tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "code"), [("camvid", "camvid-no-download"), ("cityscapes", "cityscapes-no-download")]
)
def test_no_download_but_a_word_where_to_get_it(name, code, tmp_path):
    with raises_error(code, where=f"data set {name}"):
        fetch(name, tmp_path, None)


def test_source_that_changes_between_the_walks(camvid_source, tmp_path, monkeypatch):
    walks = []

    def shrinking(*args):
        walks.append(list(source_files.find_files(*args)))
        return walks[-1] if len(walks) == 1 else walks[-1][:-1]

    monkeypatch.setattr(walk, "find_files", shrinking)
    with raises_error("source-changed", where=camvid_source):
        fetch("camvid", tmp_path, camvid_source)


def test_failed_fetch_keeps_what_was_there(camvid_source, tmp_path):
    root = tmp_path / "root"
    fetch("camvid", root, camvid_source)
    before = key("camvid", root)
    with raises_error("camvid-root-as-source", where="<tmp>"):
        fetch("camvid", root, tmp_path)
    assert key("camvid", root) == before


def test_full_disk_is_one_clear_line(camvid_source, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with raises_error("camvid-full-disk", where="<tmp>/camvid"):
        fetch("camvid", tmp_path, camvid_source)


def test_real_camvid_subset(tmp_path):
    splits = fetch("camvid", tmp_path, shared("camvid"))
    assert [len(split.ids) for split in parts(splits).values()] == [41, 17, 59]
    assert "59 of 233 test examples" in manifest(tmp_path, "camvid")["note"]
    counts = np.bincount(splits.test.y.ravel(), minlength=256)
    shares = 100 * counts / counts.sum()
    # The whole test part; these are every fourth image of it.
    whole = [17.066, 24.605, 1.177, 25.807, 9.269, 11.253, 1.010, 1.184, 3.972, 0.634, 0.189]
    assert shares[:11] == pytest.approx(whole, abs=1)
    assert shares[255] == pytest.approx(3.833, abs=1)
    assert counts[11:255].sum() == 0


def test_upper_case_palettes_and_grey_images_are_taken_and_said(camvid_root, tmp_path):
    files = camvid()
    label = "trainannot/0016E5_00001.png"
    indexed = Image.open(io.BytesIO(files[label]))
    indexed.putpalette([1, 2, 3] * 256)
    buffer = io.BytesIO()
    indexed.save(buffer, "PNG")
    files[label] = buffer.getvalue()
    files = {name.replace(".png", ".PNG"): blob for name, blob in files.items()}
    fetch("camvid", tmp_path / "root", write_folder(tmp_path / "source", files))
    assert key("camvid", tmp_path / "root") == key("camvid", camvid_root)
    note = manifest(tmp_path / "root", "camvid")["note"]
    assert "class maps with a palette, whose indices are the classes: 1" in note
