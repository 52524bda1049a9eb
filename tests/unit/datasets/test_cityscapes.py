"""Cityscapes: labels are remapped and resized without mixing; val is test."""

from __future__ import annotations

import re

import numpy as np
import pytest

from harness import datasets
from harness.datasets.hashing import name_ids
from harness.datasets.pictures.class_maps import class_table
from tests.support.road_scenes import colors, labels, png
from tests.support.sources import (
    Files,
    description,
    fetch,
    key,
    manifest,
    parts,
    refused,
    write_folder,
    write_tar,
)

# The spec's table of Cityscapes' labels.
CITY_CLASSES = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17,
    "traffic light": 19, "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23,
    "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31, "motorcycle": 32,
    "bicycle": 33,
}  # fmt: skip


CITY_NAMES = {
    "train": ["aachen_000000_000019", "aachen_000001_000019", "bochum_000000_000313"],
    "val": ["frankfurt_000000_000294", "lindau_000000_000019"],
}


CITY_LABELS = [0, 7, 13, 21, 22, 33, 255]


def city_file(name: str, part: str, tree: str, upstream: bool) -> str:
    above = f"{tree}_trainvaltest/" if upstream else ""
    end = "leftImg8bit" if tree == "leftImg8bit" else "gtFine_labelIds"
    return f"{above}{tree}/{part}/{name.split('_')[0]}/{name}_{end}.png"


def cityscapes(upstream: bool = False) -> Files:
    files = {}
    for part, names in CITY_NAMES.items():
        for name in names:
            image = png(colors(name, 1024, 2048))
            files[city_file(name, part, "leftImg8bit", upstream)] = image
            label = png(labels(name, 1024, 2048, CITY_LABELS))
            files[city_file(name, part, "gtFine", upstream)] = label
    above = ("leftImg8bit_trainvaltest/", "gtFine_trainvaltest/") if upstream else ("", "")
    files |= {  # never read
        f"{above[0]}leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png": b"x",
        f"{above[1]}gtFine/train/aachen/aachen_000000_000019_gtFine_color.png": b"x",
        f"{above[1]}gtFine/train/aachen/aachen_000000_000019_gtFine_instanceIds.png": b"x",
    }
    return files


@pytest.fixture(scope="module")
def city_files():
    return cityscapes()


@pytest.fixture(scope="module")
def city_root(city_files, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    fetch("cityscapes", root, write_folder(tmp_path_factory.mktemp("city"), city_files))
    return root


def remapped(label: np.ndarray) -> np.ndarray:
    result = np.full_like(label, 255)
    for index, value in enumerate(CITY_CLASSES.values()):
        result[label == value] = index
    return result


def nearest(label: np.ndarray) -> np.ndarray:
    """The pixel under the middle of each new one."""
    rows = ((np.arange(360) + 0.5) * label.shape[0] / 360).astype(int)
    columns = ((np.arange(480) + 0.5) * label.shape[1] / 480).astype(int)
    return label[rows][:, columns]


NAME_OF = {
    identity: name
    for names in CITY_NAMES.values()
    for name, identity in zip(names, name_ids("cityscapes", names).tolist(), strict=True)
}
"""Id → name: ids are made from names alone, whatever city's folder they are in."""


def test_cityscapes_is_remapped_then_made_smaller_by_nearest_neighbour(city_root):
    splits = datasets.load("cityscapes", city_root)
    for split in parts(splits).values():
        assert (split.x.dtype, split.y.dtype) == (np.uint8, np.uint8)
        for x, y, identity in zip(split.x, split.y, split.ids.tolist(), strict=True):
            name = NAME_OF[identity]
            full = remapped(labels(name, 1024, 2048, CITY_LABELS))
            assert set(np.unique(y)) <= set(np.unique(full))
            assert np.array_equal(y, nearest(full))
            expected = colors(name, 360, 480).astype(int).transpose(2, 0, 1)
            apart = np.abs(x - expected).max(axis=0)
            assert apart[:175, :235].max() == 0  # flat quarters stay flat
            assert apart[185:, 245:].max() == 0


def test_cityscapes_val_is_test_and_val_is_cut_from_train(city_root):
    splits = datasets.load("cityscapes", city_root)
    names = {
        part: [NAME_OF[i] for i in split.ids.tolist()] for part, split in parts(splits).items()
    }
    assert names["test"] == CITY_NAMES["val"]
    assert len(names["val"]) == 1
    assert sorted(names["train"] + names["val"]) == CITY_NAMES["train"]
    assert names["train"] == sorted(names["train"])
    assert "test is the official validation part" in str(description("cityscapes").note)


def test_cityscapes_spec(city_root):
    spec = datasets.load("cityscapes", city_root).spec
    assert (spec["outputs"], spec["void"], spec["shape"]) == (19, 255, [3, 360, 480])
    assert spec["classes"] == list(CITY_CLASSES)
    note = manifest(city_root, "cityscapes")["note"]
    assert "2 of 2,677 train examples, 1 of 298 val examples, 2 of 500 test examples" in note
    assert "does not name" not in note  # colours, instances and the test part are known


@pytest.mark.parametrize("form", ["upstream", "archive"])
def test_every_form_of_cityscapes_gives_the_same_arrays(form, city_files, city_root, tmp_path):
    source = tmp_path / "source"
    if form == "upstream":
        write_folder(source, cityscapes(upstream=True))
    else:
        write_tar(source / "a.tar.gz", city_files)
    fetch("cityscapes", tmp_path / "root", source)
    digests = [key("cityscapes", root) for root in (city_root, tmp_path / "root")]
    assert digests[0] == digests[1]


def test_every_label_goes_where_the_table_says(city_files, tmp_path):
    """256 stripes of 8 pixels, one a label; −1 is 255 in eight bits."""
    stripes = np.tile(np.repeat(np.arange(256, dtype=np.uint8), 8), (1024, 1))
    name = "frankfurt_000000_000294"
    files = city_files | {city_file(name, "val", "gtFine", False): png(stripes)}
    splits = fetch("cityscapes", tmp_path / "root", write_folder(tmp_path / "source", files))
    (row,) = np.flatnonzero(splits.test.ids == name_ids("cityscapes", [name]))
    seen = nearest(stripes)[0]
    assert sorted(set(seen.tolist())) == [*range(256)]
    expected = [
        [*CITY_CLASSES.values()].index(label) if label in CITY_CLASSES.values() else 255
        for label in seen.tolist()
    ]
    assert splits.test.y[row, 0].tolist() == expected


def test_form_tables_agree_with_the_spec():
    city, camvid = (
        class_table(description(name).layouts[0].layout) for name in ("cityscapes", "camvid")
    )
    assert {label: int(city[label]) for label in range(256) if city[label] != 255} == {
        label: index for index, label in enumerate(CITY_CLASSES.values())
    }
    assert camvid[:12].tolist() == [*range(11), 255]


def broken_cityscapes() -> dict[str, tuple[Files, str]]:
    image = city_file("aachen_000000_000019", "train", "leftImg8bit", False)
    label = city_file("aachen_000000_000019", "train", "gtFine", False)
    other = city_file("aachen_000001_000019", "train", "leftImg8bit", False)
    small = np.zeros((512, 1024), dtype=np.uint8)
    return {
        "cityscapes-no-label": ({label: b""}, image),
        "cityscapes-no-image": ({image: b""}, label),
        "cityscapes-size": ({label: png(small)}, label),
        "cityscapes-colour": ({label: png(colors("x", 1024, 2048))}, label),
        "cityscapes-two-cities": (
            {other.replace("train/aachen/", "train/zurich/"): b"x"},
            other.replace("train/aachen/", "train/zurich/"),
        ),
    }


@pytest.mark.parametrize("code", broken_cityscapes())
def test_broken_cityscapes_is_one_clear_line(code, city_files, tmp_path):
    changed, where = broken_cityscapes()[code]
    files = {name: blob for name, blob in (city_files | changed).items() if blob}
    refused("cityscapes", tmp_path, files, code, f"<tmp>/source/{where}")


def test_one_train_image_is_not_cut(city_files, tmp_path):
    files = {
        name: blob for name, blob in city_files.items() if not re.search("_000001_|bochum", name)
    }
    splits = fetch("cityscapes", tmp_path / "root", write_folder(tmp_path / "source", files))
    assert [len(split.ids) for split in parts(splits).values()] == [1, 0, 2]
