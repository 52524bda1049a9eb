"""Road scenes: read from a person's copy, true to it pixel by pixel; labels are never mixed."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from harness import datasets
from harness.commands import data as command
from harness.common.errors import UserError
from harness.datasets.base import DataMissing, draws, hash_order
from harness.datasets.segmentation import maps, pairs, roads
from harness.running import host_stages
from harness.runtime.contracts import Spec
from harness.workspace import Workspace
from tests.support.sources import (
    Files,
    fetch,
    manifest,
    parts,
    refused,
    shared,
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


def png(array: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=1, **options)
    return buffer.getvalue()


def colours(name: str, height: int, width: int) -> np.ndarray:
    """An RGB image like no other, flat in each quarter."""
    values = (draws(name, 12) * 256).astype(np.uint8).reshape(2, 2, 3)
    return np.kron(values, np.ones((height // 2, width // 2, 1), dtype=np.uint8))


def labels(name: str, height: int, width: int, among: list[int]) -> np.ndarray:
    """A class map in blocks of 8 by 8 pixels."""
    chosen = (draws(f"{name}/labels", height * width // 64) * len(among)).astype(int)
    blocks = np.array(among, dtype=np.uint8)[chosen].reshape(height // 8, width // 8)
    return np.kron(blocks, np.ones((8, 8), dtype=np.uint8))


# CamVid

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
            image, label = colours(name, 360, 480), labels(name, 360, 480, [*range(12)])
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
            assert np.array_equal(split.x[row].transpose(1, 2, 0), colours(name, 360, 480))
            label = labels(name, 360, 480, [*range(12)])
            assert np.array_equal(split.y[row], np.where(label == 11, 255, label))


def test_camvid_spec(camvid_root):
    spec = datasets.load("camvid", camvid_root).spec
    assert set(spec) == {field.name for field in dataclasses.fields(Spec)}
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
    assert "3 of 367 train images, 2 of 101 val images, 2 of 233 test images" in record["note"]
    assert record["counts"] == {"train": 3, "val": 2, "test": 2}
    assert datasets.digest("camvid", camvid_root) != datasets.digest("camvid", tmp_path / "root")


def test_the_command_says_what_is_missing_of_the_set(camvid_source, tmp_path):
    said = io.StringIO()
    workspace = Workspace(tmp_path, tmp_path / "home")
    command.fetch(workspace, "camvid", camvid_source, Console(file=said, width=200))
    assert "note: not the whole published set" in said.getvalue()
    command.print_cards(workspace, Console(file=said, width=200))
    assert "this copy: not the whole published set" in said.getvalue()


def test_the_whole_set_needs_no_note(camvid_source, tmp_path):
    form = dataclasses.replace(roads.CAMVID.form, parts={"train": 3, "val": 2, "test": 3})
    kind = dataclasses.replace(roads.CAMVID, form=form)
    roads.dataset(kind, datasets.get("camvid").card, (3, 2, 3)).fetch(tmp_path, camvid_source)
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
    assert datasets.digest("camvid", tmp_path / "root") == datasets.digest("camvid", camvid_root)
    expected = (
        {"train/", "val/", "test/"} if form == "below" else {p.name for p in source.iterdir()}
    )
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
    host_stages.data({"name": "camvid", "train_fraction": 1.0}, {}, tmp_path, camvid_root)
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
    with pytest.raises(DataMissing, match=r"val_y.npy .*gauntlet data fetch camvid"):
        datasets.load("camvid", tmp_path)


def broken_camvid() -> dict[str, tuple[Files, str, str]]:
    """Case → files that replace good ones (``b""``: removed), the file to name, what to say."""
    image, label = "train/0016E5_00001.png", "trainannot/0016E5_00001.png"
    grey, colour = np.zeros((360, 480), dtype=np.uint8), colours("x", 360, 480)
    wrong = grey.copy()
    wrong[7, 9] = 12
    return {
        "no label": ({label: b""}, image, "there is no label file for it; add it"),
        "no image": ({image: b""}, label, "there is no image for it; add it"),
        "image size": ({image: png(colour[:240])}, image, "is 480x240 pixels; give images of 480x"),
        "label size": ({label: png(grey[:, :240])}, label, "is 240x360 pixels"),
        "turned": ({image: png(colour.transpose(1, 0, 2))}, image, "is 360x480 pixels"),
        "label": ({label: png(wrong)}, label, "holds the label 12; give labels from 0 to 11"),
        "void of others": ({label: png(grey + 255)}, label, "holds the label 255"),
        "colour label": ({label: png(colour)}, label, "is 8-bit RGB, not 8-bit grey; give class"),
        "palette": ({label: palette(grey)}, label, "is of mode P, not 8-bit grey"),
        "deep label": ({label: png(grey.astype(np.uint16))}, label, "is of mode I;16, not 8-bit"),
        "grey image": ({image: png(grey)}, image, "is 8-bit grey, not 8-bit RGB"),
        "jpeg": ({image: b"\xff\xd8\xff\xe0"}, image, "is not a whole PNG"),
        "cut": ({image: camvid()[image][:200]}, image, "is not a whole PNG"),
        "two parts": (
            {"test/0016E5_00001.png": png(colour), "testannot/0016E5_00001.png": png(grey)},
            "0016E5_00001.png",
            "has the same id as",
        ),
        "two places": ({f"CamVid/{image}": png(colour)}, image, "is also in .*leave one"),
    }


def palette(indices: np.ndarray) -> bytes:
    image = Image.fromarray(indices)
    image.putpalette([1, 2, 3] * 256)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("case", broken_camvid())
def test_broken_camvid_is_one_clear_line(case, tmp_path):
    changed, names, says = broken_camvid()[case]
    files = {name: blob for name, blob in (camvid() | changed).items() if blob}
    assert names in refused("camvid", tmp_path, files, says)


def test_broken_file_in_an_archive_is_named(tmp_path):
    files = camvid() | {"test/0001TP_008550.png": b"GIF89a"}
    write_tar(tmp_path / "source" / "a.tar.gz", files)
    line = refused("camvid", tmp_path, {}, "is not a whole PNG")
    assert "a.tar.gz: test/0001TP_008550.png" in line


def test_cut_archive_and_folder_beside_its_archive_are_refused(tmp_path):
    path = write_tar(tmp_path / "source" / "a.tar.gz", camvid())
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    refused("camvid", tmp_path, {}, "a.tar.gz: cannot be read")
    path.write_bytes(whole)
    refused("camvid", tmp_path, camvid(), "is also in .*leave one of them")


def test_oversized_member_is_refused(tmp_path):
    write_tar(tmp_path / "source" / "a.tar.gz", {"train/0.png": bytes(2 << 20)})
    refused("camvid", tmp_path, {}, "2,097,152 bytes")


@pytest.mark.parametrize("part", CAMVID_NAMES)
def test_missing_part_is_named(part, tmp_path):
    files = {name: blob for name, blob in camvid().items() if not name.startswith(part)}
    refused("camvid", tmp_path, files, f"has no {part} images")


def test_other_files_do_not_matter(camvid_root, tmp_path):
    extra = {"train.txt": b"x", "train/._0016E5_00001.png": b"x", "other/0.png": b"x"}
    fetch("camvid", tmp_path / "root", write_folder(tmp_path / "source", camvid() | extra))
    assert datasets.digest("camvid", tmp_path / "root") == datasets.digest("camvid", camvid_root)


@pytest.mark.parametrize("name", ["camvid", "cityscapes"])
def test_nothing_of_it_there(name, tmp_path):
    refused(name, tmp_path, {"readme.txt": b""}, f"nothing in it is {name}; give a folder with")
    with pytest.raises(UserError, match="is not a folder"):
        fetch(name, tmp_path / "root", tmp_path / "absent")


@pytest.mark.parametrize("name", ["camvid", "cityscapes"])
def test_no_download_but_a_word_where_to_get_it(name, tmp_path):
    with pytest.raises(UserError, match=f"https://.*gauntlet data fetch {name} --from DIR"):
        fetch(name, tmp_path, None)


def test_source_that_changes_between_the_walks(camvid_source, tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "walk", lambda *given: list(pairs.walk(*given))[:-1])
    with pytest.raises(UserError, match="was changed while it was read"):
        fetch("camvid", tmp_path, camvid_source)


def test_failed_fetch_keeps_what_was_there(camvid_source, tmp_path):
    root = tmp_path / "root"
    fetch("camvid", root, camvid_source)
    before = datasets.digest("camvid", root)
    with pytest.raises(UserError):
        fetch("camvid", root, tmp_path)
    assert datasets.digest("camvid", root) == before


def test_full_disk_is_one_clear_line(camvid_source, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(UserError, match=r"cannot be written .*No space left"):
        fetch("camvid", tmp_path, camvid_source)


# Cityscapes

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
            image = png(colours(name, 1024, 2048))
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


def name_of(identity: int) -> str:
    form = roads.CITYSCAPES.form
    (name,) = (
        name
        for names in CITY_NAMES.values()
        for name in names
        if pairs.identity(form, name) == identity
    )
    return name


def test_cityscapes_is_remapped_then_made_smaller_by_nearest_neighbour(city_root):
    splits = datasets.load("cityscapes", city_root)
    for split in parts(splits).values():
        assert (split.x.dtype, split.y.dtype) == (np.uint8, np.uint8)
        for x, y, identity in zip(split.x, split.y, split.ids.tolist(), strict=True):
            name = name_of(identity)
            full = remapped(labels(name, 1024, 2048, CITY_LABELS))
            assert set(np.unique(y)) <= set(np.unique(full))
            assert np.array_equal(y, nearest(full))
            expected = colours(name, 360, 480).astype(int).transpose(2, 0, 1)
            apart = np.abs(x - expected).max(axis=0)
            assert apart[:175, :235].max() == 0  # flat quarters stay flat
            assert apart[185:, 245:].max() == 0


def test_cityscapes_val_is_test_and_val_is_cut_from_train(city_root):
    splits = datasets.load("cityscapes", city_root)
    names = {
        part: [name_of(i) for i in split.ids.tolist()] for part, split in parts(splits).items()
    }
    assert names["test"] == CITY_NAMES["val"]
    assert len(names["val"]) == 1
    assert sorted(names["train"] + names["val"]) == CITY_NAMES["train"]
    assert names["train"] == sorted(names["train"])
    form = roads.CITYSCAPES.form
    ids = np.array([pairs.identity(form, name) for name in CITY_NAMES["train"]])
    first = hash_order(ids, "cityscapes/val")[0]
    assert names["val"] == [CITY_NAMES["train"][first]]
    note = datasets.get("cityscapes").card.note
    assert "test is the official validation part" in note


def test_cityscapes_spec(city_root):
    spec = datasets.load("cityscapes", city_root).spec
    assert (spec["outputs"], spec["void"], spec["shape"]) == (19, 255, [3, 360, 480])
    assert spec["classes"] == list(CITY_CLASSES)
    note = manifest(city_root, "cityscapes")["note"]
    assert "3 of 2,975 train images, 2 of 500 val images" in note


@pytest.mark.parametrize("form", ["upstream", "archive"])
def test_every_form_of_cityscapes_gives_the_same_arrays(form, city_files, city_root, tmp_path):
    source = tmp_path / "source"
    if form == "upstream":
        write_folder(source, cityscapes(upstream=True))
    else:
        write_tar(source / "a.tar.gz", city_files)
    fetch("cityscapes", tmp_path / "root", source)
    digests = [datasets.digest("cityscapes", root) for root in (city_root, tmp_path / "root")]
    assert digests[0] == digests[1]


def test_every_label_goes_where_the_table_says(city_files, tmp_path):
    """256 stripes of 8 pixels, one a label; −1 is 255 in eight bits."""
    stripes = np.tile(np.repeat(np.arange(256, dtype=np.uint8), 8), (1024, 1))
    name = "frankfurt_000000_000294"
    files = city_files | {city_file(name, "val", "gtFine", False): png(stripes)}
    splits = fetch("cityscapes", tmp_path / "root", write_folder(tmp_path / "source", files))
    (row,) = np.flatnonzero(splits.test.ids == pairs.identity(roads.CITYSCAPES.form, name))
    seen = nearest(stripes)[0]
    assert sorted(set(seen.tolist())) == [*range(256)]
    expected = [
        [*CITY_CLASSES.values()].index(label) if label in CITY_CLASSES.values() else 255
        for label in seen.tolist()
    ]
    assert splits.test.y[row, 0].tolist() == expected


def test_form_tables_agree_with_the_spec():
    city = roads.CITYSCAPES.form.table
    assert {label: int(city[label]) for label in range(256) if city[label] != 255} == {
        label: index for index, label in enumerate(CITY_CLASSES.values())
    }
    assert roads.CAMVID.form.table[:12].tolist() == [*range(11), 255]


def broken_cityscapes() -> dict[str, tuple[Files, str, str]]:
    image = city_file("aachen_000000_000019", "train", "leftImg8bit", False)
    label = city_file("aachen_000000_000019", "train", "gtFine", False)
    other = city_file("aachen_000001_000019", "train", "leftImg8bit", False)
    small = np.zeros((512, 1024), dtype=np.uint8)
    return {
        "no label": ({label: b""}, image, "there is no label file for it"),
        "no image": ({image: b""}, label, "there is no image for it"),
        "size": ({label: png(small)}, label, "is 1024x512 pixels; give images of 2048x1024"),
        "colour": ({label: png(colours("x", 1024, 2048))}, label, "is 8-bit RGB, not 8-bit grey"),
        "two cities": (
            {other.replace("train/aachen/", "train/zurich/"): b"x"},
            other.replace("train/aachen/", "train/zurich/"),
            "is also in",
        ),
    }


@pytest.mark.parametrize("case", broken_cityscapes())
def test_broken_cityscapes_is_one_clear_line(case, city_files, tmp_path):
    changed, names, says = broken_cityscapes()[case]
    files = {name: blob for name, blob in (city_files | changed).items() if blob}
    assert names in refused("cityscapes", tmp_path, files, says)


def test_one_train_image_is_too_few_for_validation(city_files, tmp_path):
    files = {
        name: blob for name, blob in city_files.items() if not re.search("_000001_|bochum", name)
    }
    refused("cityscapes", tmp_path, files, "one train image")


def test_every_set_that_is_fetched_has_one_place():
    for name, dataset in datasets.DATASETS.items():
        if not dataset.bundled:
            assert datasets.shelf(name).version == dataset.version
            assert datasets.shelf(name).name == name.removesuffix("-unvoted")


# The real thing


def test_real_camvid_subset(tmp_path):
    splits = fetch("camvid", tmp_path, shared("camvid"))
    assert [len(split.ids) for split in parts(splits).values()] == [41, 17, 59]
    assert "59 of 233 test images" in manifest(tmp_path, "camvid")["note"]
    counts = np.bincount(splits.test.y.ravel(), minlength=256)
    shares = 100 * counts / counts.sum()
    # The whole test part; these are every fourth image of it.
    whole = [17.066, 24.605, 1.177, 25.807, 9.269, 11.253, 1.010, 1.184, 3.972, 0.634, 0.189]
    assert shares[:11] == pytest.approx(whole, abs=1)
    assert shares[255] == pytest.approx(3.833, abs=1)
    assert counts[11:255].sum() == 0
