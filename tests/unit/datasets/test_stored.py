"""The cache of fetched sets: replaced as a whole, stable over versions, damage is found."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from harness import datasets
from harness.datasets.base import DataMissing
from tests.support.errors import raises_error
from tests.support.small_images import (
    arrays_digest,
    idx_files,
    image_files,
)
from tests.support.sources import all_sets, fetch, manifest, write_folder

FETCHED = [data.name for data in all_sets(Path("/nowhere")) if data.manifest is not None]


@pytest.mark.parametrize("name", FETCHED)
def test_not_fetched_says_how_to_fetch(name, tmp_path):
    with raises_error("set-not-fetched", where=f"data set {name}", place=name) as caught:
        datasets.load(name, tmp_path)
    assert isinstance(caught.value, DataMissing)


def digest(root):
    return all_sets(root).key_digest("fashion-mnist")


def test_fetching_again_replaces_and_changes_the_digest(tmp_path):
    root = tmp_path / "root"
    fetch("fashion-mnist", root, write_folder(tmp_path / "a", idx_files()))
    before = digest(root)
    files = image_files("fashion-mnist", "png")
    fetch("fashion-mnist", root, write_folder(tmp_path / "b", files))
    assert digest(root) != before
    fetch("fashion-mnist", root, tmp_path / "a")
    assert digest(root) == before


def test_failed_fetch_keeps_what_was_there(tmp_path):
    root = tmp_path / "root"
    fetch("fashion-mnist", root, write_folder(tmp_path / "a", idx_files()))
    before = digest(root)
    (tmp_path / "b").mkdir()
    with raises_error("fashion-nowhere", where="<tmp>/b"):
        fetch("fashion-mnist", root, tmp_path / "b")
    assert digest(root) == before


def test_what_was_fetched_in_the_past_stays_valid(tmp_path):
    """The form of arrays and manifest, written out; if this fails, everyone has to fetch again."""
    fetch("fashion-mnist", tmp_path, write_folder(tmp_path / "source", idx_files()))
    before = arrays_digest(datasets.load("fashion-mnist", tmp_path))
    folder = tmp_path / "fashion-mnist"
    spec = manifest(tmp_path, "fashion-mnist")["spec"]
    sums = {}
    for part in ("train", "val", "test"):
        for name in ("x", "y", "ids"):
            path = folder / f"{part}_{name}.npy"
            np.save(path, np.load(path), allow_pickle=False)
            sums[path.stem] = hashlib.sha256(path.read_bytes()).hexdigest()
    whole = hashlib.sha256(json.dumps([spec, sums], sort_keys=True).encode()).hexdigest()
    record = {"name": "fashion-mnist", "version": 2, "spec": spec, "arrays": sums, "sha256": whole}
    (folder / "manifest.json").write_text(json.dumps(record))
    assert arrays_digest(datasets.load("fashion-mnist", tmp_path)) == before


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("array", "cached-array-changed"),
        ("absent array", "cached-array-absent"),
        ("manifest", "cached-manifest-cut"),
        ("digest", "cached-digest-changed"),
        ("version", "cached-version-changed"),
    ],
)
def test_damage_after_the_fetch_is_found(damage, code, tmp_path):
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
    with raises_error(code, where="data set fashion-mnist") as caught:
        datasets.load("fashion-mnist", tmp_path)
    assert isinstance(caught.value, DataMissing)
