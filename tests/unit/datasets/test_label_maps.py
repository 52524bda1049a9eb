"""Pictures and class maps of one's own: how they pair, what values mean, and what is refused."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from harness.common.errors import UserErrors
from harness.datasets.pictures.class_maps import VOID, fit_map
from tests.support.errors import raises_error
from tests.support.own_data import describe, read_own
from tests.support.road_scenes import png
from tests.support.sources import Files, parts

MAPS = {
    "pictures": "images/{name}.jpg",
    "maps": "masks/{name}.png",
    "values": {"0": "ground", "3": "roof", "4": "roof"},
    "void": [9],
}
VALUES = np.array([[0, 3, 4, 9], [0, 0, 3, 3], [4, 4, 9, 9]], dtype=np.uint8)


def jpeg(width: int = 4, height: int = 3, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 30)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def pairs(*names: str) -> Files:
    files = {f"images/{name}.jpg": jpeg() for name in names}
    return files | {f"masks/{name}.png": png(VALUES) for name in names}


def own(where, files, /, picture=None, splits=None, **changes):
    layout = {"label_maps": MAPS | changes}
    return read_own(where, files, layouts=[layout], task="segmentation", picture=picture,
                    splits=splits)  # fmt: skip


def test_several_values_are_one_class_and_void_is_none(tmp_path):
    splits = own(tmp_path, pairs("b", "a", "c"))
    assert [len(split.y) for split in parts(splits).values()] == [3, 0, 0]
    assert splits.spec["classes"] == ["ground", "roof"]
    assert splits.spec["void"] == VOID
    assert splits.train.y[0].tolist() == [[0, 1, 1, 255], [0, 0, 1, 1], [1, 1, 255, 255]]


def test_all_other_values_may_be_void(tmp_path):
    splits = own(tmp_path, pairs("a"), values={"3": "roof"}, void="others")
    assert splits.train.y[0].tolist() == np.where(VALUES == 3, 0, VOID).tolist()


def test_a_share_is_cut_where_the_source_has_no_splits(tmp_path):
    splits = own(tmp_path, pairs(*"abcdefghij"), splits={"val": 0.1, "test": 0.2})
    assert [len(split.y) for split in parts(splits).values()] == [7, 1, 2]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("resize", [[20, 60], 20, 60])
def test_a_map_is_resized_and_cropped_as_its_picture(resize, axis, tmp_path):
    """Both have the number of the row (or of the column), so that they show which are kept."""
    both = png(np.indices((60, 80), dtype=np.uint8)[axis])
    splits = own(
        tmp_path,
        {"images/a.png": both, "masks/a.png": both},
        {"channels": 1, "resize": resize},
        pictures="images/{name}.png",
        values={str(value): f"class {value}" for value in range(80)},
        void=[],
    )
    x, y = splits.train.x[0, 0].astype(int), splits.train.y[0].astype(int)
    assert x.shape == y.shape == ((resize, resize) if isinstance(resize, int) else (60, 20))
    # the mean of four and the nearest of them, a half apart, of which the mean is rounded
    assert np.abs(x - y).max() <= 1


def test_the_middle_square_is_kept():
    square = fit_map(np.arange(40, dtype=np.uint8).reshape(4, 10), 4)
    assert square.tolist() == [[3, 4, 5, 6], [13, 14, 15, 16], [23, 24, 25, 26], [33, 34, 35, 36]]


def refused() -> dict[str, tuple[Files, str]]:
    """Code → files beside good ones (``b""``: removed), the place in the source."""
    strange = VALUES.copy()
    strange[1, 1] = 7
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "map-of-no-picture": ({"masks/c.png": png(VALUES)}, "masks/c.png"),
        "map-missing": ({"masks/a.png": b""}, "images/a.jpg"),
        "map-value": ({"masks/b.png": png(strange)}, "masks/b.png"),
        "map-size": ({"masks/b.png": png(VALUES[:2])}, "masks/b.png"),
        "map-turned": ({"masks/b.png": png(VALUES, exif=turned)}, "masks/b.png"),
        "mapped-picture-turned": ({"images/b.jpg": jpeg(exif=turned)}, "images/b.jpg"),
        "map-text": ({"masks/b.png": b"0 1 2\n"}, "masks/b.png"),
        "map-empty": ({"masks/b.png": b" "}, "masks/b.png"),
        "map-colours": ({"masks/b.png": png(np.stack([VALUES] * 3, axis=2))}, "masks/b.png"),
    }


@pytest.mark.parametrize("code", refused())
def test_a_bad_pair_is_one_line(code, tmp_path):
    changed, where = refused()[code]
    files = {name: blob for name, blob in (pairs("a", "b") | changed).items() if blob}
    with raises_error(code, where=f"<tmp>/source/{where}"):
        own(tmp_path, files)


def test_all_bad_pairs_at_once(tmp_path):
    strange = {f"masks/{name}.png": png(VALUES + 10) for name in "abc"}
    with raises_error("map-first-of-three", where="<tmp>/source/masks/a.png", mistakes=3):
        own(tmp_path, pairs(*"abcd") | strange)


def test_only_pictures_that_nothing_names_are_said(tmp_path):
    files = pairs("a") | {"colour/a.png": b"", "other/a.png": b"", "other/b.PNG": b""}
    own(tmp_path, files, ignore=["colour/{}.png"])
    note = json.loads((tmp_path / "root" / "own" / "manifest.json").read_text())["note"]
    assert "2 pictures that its layout does not name (other/a.png)" in note


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"maps": "masks/{id}.png"}, "maps", "has no {name}"),
        ({"maps": "{split}/{name}.png"}, "maps", "only one template has {split}"),
        ({"void": [3]}, "void", "3 is also in values"),
        ({"void": "rest"}, "void", "or others"),
        ({"values": {}}, "values", "names no class"),
        ({"values": {"256": "a"}}, "values.256", "at most 255"),
        ({"values": {"a": "b"}}, "values.a", "whole number"),
        ({"values": {str(value): str(value) for value in range(255)}, "void": []}, "values",
         "at most 254"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_layout_is_one_line(changes, place, words, tmp_path):
    with pytest.raises(UserErrors) as caught:
        describe(tmp_path, task="segmentation", layouts=[{"label_maps": MAPS | changes}])
    (line,) = str(caught.value).splitlines()
    assert f": layouts[0].label_maps.{place}:" in line, line
    assert words in line, line


@pytest.mark.parametrize(
    ("layout", "place", "words"),
    [
        ({"idx": {"files": {}}}, "idx.files", "found none"),
        ({"idx": {"files": {"test": {"x": "a"}}}}, "idx.files.test.y", "missing"),
        ({"arrays": {"files": {"test": {"x": "a", "y": "b"}}, "order": "hwc"}}, "arrays.order",
         "nchw"),
        ({"torchvision": {"class": "MNIST"}}, "torchvision.class", "CIFAR10"),
        ({"torchvision": {"class": "CIFAR10", "parts": {"test": "a"}}}, "torchvision.parts",
         "means nothing in this layout"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_layout_of_arrays_is_one_line(layout, place, words, tmp_path):
    with pytest.raises(UserErrors) as caught:
        describe(tmp_path, layouts=[layout])
    (line,) = str(caught.value).splitlines()
    assert f": layouts[0].{place}:" in line, line
    assert words in line, line


def test_class_maps_cannot_be_cropped(tmp_path):
    with pytest.raises(UserErrors, match=r"picture\.crop: means nothing for task: segmentation"):
        describe(tmp_path, task="segmentation", layouts=[{"label_maps": MAPS}], picture={"crop": 8})
