"""A small copy of human age: true to its lists, lines kept, a broken source is one clear line."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from harness import datasets
from harness.datasets.base import DataMissing
from harness.datasets.listing import comparison_lines, flip_lines
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
    write_folder,
    write_tar,
)

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
    source = write_folder(tmp_path_factory.mktemp("age"), AGE | AGE_IMAGES)
    for name in ("age", "age-unvoted"):
        fetch(name, root, source)
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
    digests = [manifest(age_root, name)["sha256"] for name in ("age", "age-unvoted")]
    assert digests[0] != digests[1]


def test_images_are_resized_without_a_crop(age_root):
    splits = datasets.load("age", age_root)
    names = {"train": FACES[:3], "val": FACES[3:5], "test": FACES[3:]}
    for part, split in parts(splits).items():
        assert (split.x.shape, split.x.dtype) == ((len(names[part]), 3, 224, 224), np.uint8)
        assert isinstance(split.x, np.memmap)
        for row, name in zip(split.x, names[part], strict=True):
            assert np.array_equal(
                row, np.broadcast_to(np.reshape(color(name), (3, 1, 1)), row.shape)
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
    assert comparison_lines("age-unvoted", age_root) == listed
    voted = comparison_lines("age", age_root)
    assert voted == listed[1:4]
    some = datasets.load("age", age_root, 0.67)
    rows = np.flatnonzero(np.isin(datasets.load("age", age_root).train.ids, some.train.ids))
    assert len(rows) == 2
    assert comparison_lines("age", age_root, 0.67) == [voted[row] for row in rows]
    assert "".join(flip_lines("age-unvoted", age_root, listed, [0])) == AGE_TRAIN.replace(
        "2A05.JPG,1,0,2", "2A05.JPG,-1,0,2"
    )


def test_a_row_in_two_splits_has_two_ids(age_root):
    for name in ("age", "age-unvoted"):
        ids = np.concatenate([s.ids for s in parts(datasets.load(name, age_root)).values()])
        assert len(np.unique(ids)) == len(ids)


@pytest.mark.parametrize(
    "form", ["authors", "authors' data folder", "age/data/", "lists packed", "all packed", "lower"]
)
def test_every_form_of_age_gives_the_same_arrays(form, age_root, tmp_path):
    authors = dict(zip(("train/clean_0.txt", "val.txt", "test.txt"), AGE.values(), strict=True))
    source = tmp_path / "source"
    if form == "authors":
        write_folder(source, authors | AGE_IMAGES)
    elif form == "lower":
        write_folder(source, AGE | {f"images/{n}.jpg".lower(): image(n) for n in FACES})
    elif form == "lists packed":
        write_tar(source / "a.tar.gz", {f"./age/data/{n}": blob for n, blob in AGE.items()})
        write_folder(source, AGE_IMAGES)
    elif form == "all packed":
        write_tar(source / "a.tar.gz", AGE | AGE_IMAGES)
    else:
        below = "age/data/" if form == "age/data/" else "data/age/"
        files = (AGE if form == "age/data/" else authors) | AGE_IMAGES
        write_folder(source, {f"{below}{name}": blob for name, blob in files.items()})
    fetch("age", tmp_path / "root", source)
    assert manifest(tmp_path / "root", "age")["sha256"] == manifest(age_root, "age")["sha256"]


def test_validation_is_cut_with_all_rows_of_a_pair(tmp_path):
    rows = "".join(f"003A10.JPG,00{n}A0{n}.JPG,{label},0,1\n" for n in range(4, 10)
                   for label in (1, -1))  # fmt: skip
    images = {f"imgs/00{n}A0{n}.JPG": image(str(n)) for n in range(4, 10)}
    files = {"train/clean_0.txt": rows.encode(), "test.txt": AGE["test_age.txt"]}
    source = write_folder(tmp_path / "source", files | AGE_IMAGES | images)
    splits = fetch("age-unvoted", tmp_path / "root", source)
    assert "val cut from the training list" in manifest(tmp_path / "root", "age-unvoted")["note"]
    own = {part: groups(split) for part, split in parts(splits).items()}
    assert (len(splits.train.y), len(splits.val.y)) == (10, 2)  # one of 6 pairs
    assert len(set(own["val"])) == 1


def test_missing_images_are_one_line(tmp_path):
    files = {n: b for n, b in (AGE | AGE_IMAGES).items() if "002A05.J" not in n and "013" not in n}
    refused("age", tmp_path, files, "age-missing-images")


def broken_age() -> dict[str, tuple[Files, str]]:
    """Code → files that replace good ones, the place in the source."""
    row = AGE["val_age.txt"]
    return {
        "age-row-of-one-field": ({"val_age.txt": row + b"x\n"}, "/val_age.txt, row 2"),
        "age-row-label-two": ({"test_age.txt": b"a,b,2,0,1\n"}, "/test_age.txt, row 1"),
        "age-list-without-rows": ({"val_age.txt": b""}, "/val_age.txt"),
        "age-no-image": ({"imgs/001A02.JPG": b"GIF89a"}, "/imgs/001A02.JPG"),
        "age-cut-image": ({"imgs/001A02.JPG": image("a")[:60]}, "/imgs/001A02.JPG"),
    }


@pytest.mark.parametrize("code", broken_age())
def test_broken_age_is_one_clear_line(code, tmp_path):
    changed, where = broken_age()[code]
    refused("age", tmp_path, AGE | AGE_IMAGES | changed, code, f"<tmp>/source{where}")


def test_what_is_lacking_is_said(tmp_path):
    refused("age", tmp_path, {"readme": b""}, "age-nowhere")
    some = {"train_unvoted_age.txt": AGE["train_unvoted_age.txt"]}
    refused("age", tmp_path, some, "age-list-alone")
    with raises_error("age-from-no-folder", where="<tmp>/absent"):
        fetch("age", tmp_path, tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("age", "age-no-download"),
        ("lfw10", "lfw10-no-download"),
        ("food", "food-no-download"),
        ("pubfig", "pubfig-no-download"),
    ],
)
def test_no_download_but_a_word_where_to_get_it(name, code, tmp_path):
    with raises_error(code, where=f"data set {name}"):
        fetch(name, tmp_path, None)


def test_a_list_in_two_places_is_refused(tmp_path):
    write_tar(tmp_path / "source" / "a.tar.gz", AGE)
    refused(
        "age",
        tmp_path,
        AGE | AGE_IMAGES,
        "age-list-in-two-places",
        "<tmp>/source/a.tar.gz: train_unvoted_age.txt",
        mistakes=len(AGE),
    )


def test_damage_of_lines_is_found(tmp_path):
    fetch("age", tmp_path, write_folder(tmp_path / "source", AGE | AGE_IMAGES))
    path = tmp_path / "age" / "train_lines.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with raises_error("fetched-lines-damaged", where="data set age") as caught:
        comparison_lines("age", tmp_path)
    assert isinstance(caught.value, DataMissing)


def test_names_may_differ_in_case_but_not_be_two(tmp_path):
    faces = dict(AGE_IMAGES)
    faces["imgs/001a02.jpg"] = faces.pop("imgs/001A02.JPG")
    splits = fetch("age", tmp_path / "root", write_folder(tmp_path / "source", AGE | faces))
    assert splits.train.x[0, :, 0, 0].tolist() == list(color("001A02"))
    clash = faces | {"imgs/001A02.jpg": image("another")}
    refused("age", tmp_path / "b", AGE | clash, "age-two-of-other-case",
            "<tmp>/b/source/imgs/001a02.jpg")  # fmt: skip
    twice = faces | {"images/001A02.jpg": image("another")}
    refused("age", tmp_path / "c", AGE | twice, "age-picture-in-two-folders", "<tmp>/c/source")


def test_linked_and_deep_images(tmp_path):
    deep = Image.fromarray((np.arange(256 * 256).reshape(256, 256)).astype(np.uint16))
    buffer = io.BytesIO()
    deep.save(buffer, "PNG")
    files = AGE | AGE_IMAGES | {"imgs/001A02.JPG": buffer.getvalue()}
    source = write_folder(tmp_path / "source", files)
    splits = fetch("age", tmp_path / "root", source)
    assert 120 < splits.train.x[0].mean() < 135  # a ramp of all values; it was white before
    (source / "imgs" / "001A02.JPG").unlink()
    (source / "imgs" / "001A02.JPG").symlink_to("002A05.JPG")
    with raises_error("age-linked-image", where="<tmp>/source/imgs/001A02.JPG"):
        fetch("age", tmp_path / "root", source)
