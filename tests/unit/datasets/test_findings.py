"""Duplicates and missing classes are counted and named when a data set is fetched."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from harness.commands import data as command
from harness.datasets import read
from harness.datasets.findings import find_duplicates, inspect_arrays, shared_sentence
from harness.datasets.remarks import Remarks
from harness.workspace import Workspace
from tests.support.own_data import class_folders, describe
from tests.support.small_images import idx_files, image_files
from tests.support.sources import DATA, all_sets, fetch, manifest, write_folder


def fetched(files, tmp_path, name: str = "cifar10") -> tuple[dict, str]:
    """The manifest, and what the command said."""
    said = io.StringIO()
    workspace = Workspace(tmp_path, tmp_path / "home")
    source = write_folder(tmp_path / "source", files)
    shutil.copytree(DATA, tmp_path / "benchmarks" / "data")
    command.fetch(workspace, name, source, Console(file=said, width=400))
    return manifest(workspace.data, name), said.getvalue()


def test_clean_sets_say_nothing(tmp_path):
    record, said = fetched(image_files("cifar10", "png"), tmp_path)
    assert record["findings"]["duplicates"] == []
    assert record["findings"]["missing_classes"] == {"train": [], "val": [], "test": []}
    assert record["note"].startswith("not the published set: 10 of 45,000 train examples")
    assert " = " not in said


def test_duplicates_within_and_across_splits_are_named(tmp_path):
    files = image_files("cifar10", "png")
    files["test/cat/copy.png"] = files["train/3/0003.png"]
    files["test/dog/copy.png"] = files["train/3/0003.png"]  # another label
    files["train/3/twin.png"] = files["train/3/0003.png"]
    record, said = fetched(files, tmp_path)
    within, across, tests = record["findings"]["duplicates"]
    assert (within["part"], within["also_in"], within["count"]) == ("train", "train", 1)
    assert within["named"] == [["train/3/twin.png", "train/3/0003.png"]]
    assert (across["part"], across["also_in"], across["count"]) == ("test", "train", 2)
    assert (across["relabelled"], tests["count"]) == (1, 1)
    assert "2 test pictures are also in train, 1 with another label" in record["note"]
    assert "1 train picture is also elsewhere in train" in record["note"]
    for line in ("test/cat/copy.png = train/3/0003.png", "train/3/twin.png = train/3/0003.png"):
        assert line in said


def test_a_class_without_test_images_is_named(tmp_path):
    files = image_files("cifar10", "png")
    del files["test/3/0003.png"]
    record, said = fetched(files, tmp_path)
    assert record["findings"]["missing_classes"] == {"train": [], "val": [], "test": ["cat"]}
    assert "  no test example of cat" in said


def test_pictures_without_names_are_named_by_row(tmp_path):
    record, _ = fetched(idx_files(), tmp_path, "fashion-mnist")
    assert record["findings"]["duplicates"] == []
    x = np.zeros((2, 1, 2, 2), dtype=np.uint8)
    (found,) = find_duplicates({"train": x}, {}, {})
    assert found.named == [("train row 1", "train row 0")]


def test_twenty_are_named_and_all_are_counted():
    x = np.zeros((50, 1, 2, 2), dtype=np.uint8)
    within, across, _ = find_duplicates({"train": x, "test": x[:30]}, {}, {})
    assert (within.count, across.count, len(across.named)) == (49, 30, 20)


def test_class_maps_are_counted_by_pixel(tmp_path):
    np.save(tmp_path / "test_y.npy", np.array([[[0, 2], [255, 0]]], dtype=np.uint8))
    np.save(tmp_path / "test_x.npy", np.zeros((1, 3, 2, 2), dtype=np.uint8))
    remarks = Remarks()
    found = inspect_arrays(tmp_path, {}, remarks, ("sky", "road", "tree"))
    assert found["findings"]["missing_classes"] == {"test": ["road"]}
    assert remarks.note() == "no test example of road"


def test_findings_do_not_change_the_digest(tmp_path):
    files = image_files("cifar10", "png")
    fetch("cifar10", tmp_path / "a", write_folder(tmp_path / "source", files))
    before = all_sets(tmp_path / "a").key_digest("cifar10")
    path = tmp_path / "a" / "cifar10" / "manifest.json"
    path.write_text(path.read_text().replace('"findings"', '"others"'))
    assert all_sets(tmp_path / "a").key_digest("cifar10") == before


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_remarks_on_pictures_reach_the_note(suffix, tmp_path):
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGBA", (32, 32), (1, 2, 3, 100)).save(buffer, "PNG")
    files = image_files("cifar10", suffix) | {"train/cat/x.png": buffer.getvalue()}
    record, _ = fetched(files, tmp_path)
    assert "partly transparent pictures, laid on white: 1" in record["note"]
    assert ("stored with loss" in record["note"]) == (suffix == "jpg")


def test_rows_of_features_in_two_splits_are_counted(tmp_path):
    x, y = np.random.default_rng(0).random((6, 5)), np.arange(6) % 2
    (tmp_path / "source").mkdir()
    for name, array in {"x": x, "y": y, "tx": x[:4], "ty": y[:4]}.items():
        np.save(tmp_path / "source" / f"{name}.npy", array)
    files = {"train": {"x": "x.npy", "y": "y.npy"}, "test": {"x": "tx.npy", "y": "ty.npy"}}
    layout = [{"arrays": {"order": "nf", "values": "unit", "files": files}}]
    own = describe(tmp_path, layouts=layout)
    read.fetch(own, tmp_path / "root", tmp_path / "source")
    facts = manifest(tmp_path / "root", "own")
    assert "4 test examples are also in train (test row 0 = train row 0 first)" in facts["note"]
    assert shared_sentence(facts) == "4 test examples are also in train"


def test_pictures_that_differ_outside_of_the_crop_alone_are_one(tmp_path):
    """Otherwise a changed border would hide that the test set is the training set."""
    files = class_folders({"train": 2})
    for name, blob in list(files.items()):
        with Image.open(io.BytesIO(blob)) as found:
            found.putpixel((0, 7), 255 - found.getpixel((0, 7)))
            out = io.BytesIO()
            found.save(out, "PNG")
        files[name.replace("train/", "test/")] = out.getvalue()
    for crop, shared in ((6, "4 test pictures are also in train"), (None, "")):
        where = tmp_path / str(crop)
        own = describe(where, picture={"channels": 1, "crop": crop} if crop else {"channels": 1})
        read.fetch(own, where / "root", write_folder(where / "source", files))
        assert shared_sentence(manifest(where / "root", "own")) == shared
