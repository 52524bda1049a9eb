"""The cache of fetched sets: replaced as a whole, stable over versions, damage is found."""

from __future__ import annotations

import hashlib
import json

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
from tests.support.sources import fetch, manifest, write_folder

FETCHED = [name for name, dataset in datasets.DATASETS.items() if not dataset.bundled]


@pytest.mark.parametrize("name", FETCHED)
def test_not_fetched_says_how_to_fetch(name, tmp_path):
    place = datasets.cache_entry(name).name  # of two that lie together, fetching one serves both
    for act in (datasets.load, datasets.digest):
        with raises_error("set-not-fetched", where=f"data set {place}", place=place) as caught:
            act(name, tmp_path)
        assert isinstance(caught.value, DataMissing)


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
    with raises_error("fashion-nowhere", where="<tmp>/b"):
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
