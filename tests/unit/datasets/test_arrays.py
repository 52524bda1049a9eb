"""Arrays of one's own (NumPy, IDX): what is read, and what is refused in one line."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from harness.common.errors import UserError
from harness.datasets.files import numpy_files
from harness.datasets.files.gzipped import read_unpacked
from harness.datasets.files.source_files import SourceFile
from tests.support.errors import raises_error
from tests.support.own_data import read_own
from tests.support.small_images import idx_bytes
from tests.support.sources import parts, write_tar

FILES = {"test": {"x": "x.npy", "y": "y.npy"}}
TWO = {"train": {"x": "a_x", "y": "a_y"}, "test": {"x": "b_x", "y": "b_y"}}
GREY = {"channels": 1}
PIXELS = np.arange(6 * 3 * 4 * 5, dtype=np.uint8).reshape(6, 3, 4, 5)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def npy(array: np.ndarray, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npz(packed: bool = True, **arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def own(tmp_path, files, picture=None, /, task="classification", **layout):
    layout = {"files": FILES} | layout
    return read_own(tmp_path, files, layouts=[{"arrays": layout}], picture=picture, task=task)


def note(tmp_path):
    return json.loads((tmp_path / "root" / "own" / "manifest.json").read_text())["note"]


def test_pixels_are_stored_as_they_are(tmp_path):
    splits = own(tmp_path, {"x.npy": npy(PIXELS), "y.npy": npy(LABELS)})
    assert [len(split.y) for split in parts(splits).values()] == [0, 0, 6]
    assert np.array_equal(splits.test.x, PIXELS)
    assert np.array_equal(splits.test.y, LABELS)
    assert splits.spec["classes"] == ["0", "1", "2"]
    assert note(tmp_path) == ""


@pytest.mark.parametrize(
    ("order", "x"),
    [
        ("nchw", np.asfortranarray(PIXELS)),
        ("nchw", PIXELS.astype(">i4")),
        ("nchw", PIXELS.astype(np.float64)),
        ("nhwc", PIXELS.transpose(0, 2, 3, 1)),
    ],
)
def test_forms_of_the_same_pixels(order, x, tmp_path):
    splits = own(tmp_path, {"x.npy": npy(x), "y.npy": npy(LABELS[:, np.newaxis])}, order=order)
    assert np.array_equal(splits.test.x, PIXELS)
    assert splits.test.x.dtype == np.uint8


@pytest.mark.parametrize("form", ["packed", "stored", "tar", "gzipped files"])
def test_archives_of_two_splits(form, tmp_path):
    arrays = {"a_x": PIXELS, "a_y": LABELS, "b_x": PIXELS[:2] + 1, "b_y": LABELS[:2]}
    files, archive = {}, "all.npz"
    if form == "gzipped files":
        files, archive = {f"{key}.gz": gzip.compress(npy(one)) for key, one in arrays.items()}, None
    elif form == "tar":
        write_tar(tmp_path / "source" / "a.tar.gz", {"deep/all.npz": npz(**arrays)})
    else:
        files = {"all.npz": npz(form == "packed", **arrays)}
    splits = own(tmp_path, files, files=TWO, archive=archive, below=["deep"])
    assert np.array_equal(splits.train.x, PIXELS)
    assert np.array_equal(splits.test.x, PIXELS[:2] + 1)
    assert np.array_equal(splits.test.y, LABELS[:2])


def test_fractions_are_scaled_and_grey_is_repeated_or_kept(tmp_path):
    x = (PIXELS[:, 0] / 255).astype(np.float32)
    files = {"x.npy": npy(x), "y.npy": npy(LABELS + 1)}
    kept = own(tmp_path / "a", files, GREY, order="nhw", values="unit", label_from=1)
    assert np.array_equal(kept.test.x[:, 0], PIXELS[:, 0])
    assert kept.test.y.tolist() == LABELS.tolist()
    assert kept.spec["classes"] == ["1", "2", "3"]
    repeated = own(tmp_path / "b", files, order="nhw", values="unit", label_from=1)
    assert np.array_equal(repeated.test.x, np.repeat(PIXELS[:, :1], 3, axis=1))
    assert "grey pictures, repeated in three channels: 6" in note(tmp_path / "b")


def test_arrays_are_resized_by_the_rules_of_pictures(tmp_path):
    x = np.repeat(np.repeat(PIXELS, 2, axis=2), 2, axis=3)
    splits = own(tmp_path, {"x.npy": npy(x), "y.npy": npy(LABELS)}, {"resize": 4})
    assert splits.test.x.shape == (6, 3, 4, 4)
    assert np.abs(splits.test.x[0, 0, 1:3, 1:3].astype(int) - PIXELS[0, 0, 1:3, 1:3]).max() <= 2


@pytest.mark.parametrize("values", ["bytes", "unit"])
def test_features(values, tmp_path):
    x = np.linspace(0, 1, 12).reshape(6, 2)
    stored = np.rint(x * 255) if values == "bytes" else x
    files = {"x.npy": npy(stored), "y.npy": npy(LABELS)}
    splits = own(tmp_path, files, order="nf", values=values)
    assert splits.test.x.dtype == np.float32
    np.testing.assert_allclose(splits.test.x, x, atol=0.002)


def test_class_maps(tmp_path):
    maps = np.arange(6 * 4 * 5).reshape(6, 4, 5) % 3 + 1
    maps[0, 0, 0] = 255
    files = {"x.npy": npy(PIXELS), "y.npy": npy(maps.astype(np.uint8))}
    splits = own(tmp_path, files, task="segmentation", label_from=1)
    assert np.array_equal(splits.test.y, np.where(maps == 255, 255, maps - 1))
    assert splits.spec["outputs"] == 3
    smaller = own(tmp_path / "b", files, {"resize": [2, 2]}, task="segmentation", label_from=1)
    assert smaller.test.x.shape == (6, 3, 2, 2)
    assert np.array_equal(smaller.test.y, splits.test.y[:, 1::2, 1:4:2])


def test_idx_with_labels_from_one(tmp_path):
    files = {"i.gz": gzip.compress(idx_bytes(PIXELS[:, 0])), "l": idx_bytes(LABELS + 1)}
    layout = {"idx": {"files": {"test": {"x": "i", "y": "l"}}, "label_from": 1}}
    splits = read_own(tmp_path, files, layouts=[layout], picture=GREY)
    assert np.array_equal(splits.test.x[:, 0], PIXELS[:, 0])
    assert splits.test.y.tolist() == LABELS.tolist()


class Harmful:
    """What a pickle may do."""

    def __reduce__(self):
        return print, ("unpickled",)


def refused() -> dict[str, tuple[dict[str, bytes], dict[str, object], str]]:
    """Code → files beside the good ones, changes of the layout, place in the source."""
    harmful = np.array([Harmful()], dtype=object)
    bomb = np.zeros((6, 3, 4, 5), dtype="V8")
    good = npz(x=PIXELS, y=LABELS)
    cut = npy(PIXELS)[:-1]
    keys = {"files": {"test": {"x": "x", "y": "y"}}, "archive": "a.npz"}
    huge = npy(PIXELS).replace(b"(6, 3, 4, 5)", b"(6, 3, 4, 9)")
    return {
        "npy-pickle": ({"x.npy": pickle.dumps(Harmful())}, {}, "x.npy"),
        "npy-objects": ({"x.npy": npy(harmful, allow_pickle=True)}, {}, "x.npy"),
        "npy-records": ({"x.npy": npy(bomb)}, {}, "x.npy"),
        "npy-texts": ({"y.npy": npy(np.array(["a"] * 6))}, {}, "y.npy"),
        "npy-empty": ({"x.npy": b""}, {}, "x.npy"),
        "npy-text": ({"x.npy": b"1 2 3\n"}, {}, "x.npy"),
        "npy-cut": ({"x.npy": cut}, {}, "x.npy"),
        "npy-says-more": ({"x.npy": huge}, {}, "x.npy"),
        "npy-cut-head": ({"x.npy": cut[:40]}, {}, "x.npy"),
        "npy-no-rows": ({"x.npy": npy(PIXELS[:0]), "y.npy": npy(LABELS[:0])}, {}, "x.npy"),
        "npy-order": ({}, {"order": "nhwc"}, "x.npy"),
        "npy-axes": ({}, {"order": "nhw"}, "x.npy"),
        "npy-lengths": ({"y.npy": npy(LABELS[:5])}, {}, "y.npy"),
        "npy-one-hot": ({"y.npy": npy(np.eye(3, dtype=int)[LABELS])}, {}, "y.npy"),
        "npy-float-labels": ({"y.npy": npy(LABELS / 1)}, {}, "y.npy"),
        "npy-negative-label": ({"y.npy": npy(LABELS - 1)}, {}, "y.npy"),
        "npy-label-of-no-class": ({"y.npy": npy(LABELS + (1 << 60))}, {}, "y.npy"),
        "npy-bad-header": ({"x.npy": npy(PIXELS).replace(b"(6, 3", b"(6,(3")}, {}, "x.npy"),
        "npy-label-below-first": ({}, {"label_from": 1}, "y.npy"),
        "npy-nan": ({"x.npy": npy(np.full(PIXELS.shape, np.nan))}, {"values": "unit"}, "x.npy"),
        "npy-256": ({"x.npy": npy(PIXELS.astype(int) + 200)}, {}, "x.npy"),
        "npy-fractions": ({"x.npy": npy(PIXELS / 255)}, {}, "x.npy"),
        "npy-bytes-as-unit": ({}, {"values": "unit"}, "x.npy"),
        "npy-float-bytes-as-unit": ({"x.npy": npy(PIXELS / 1.0)}, {"values": "unit"}, "x.npy"),
        "npy-without-labels": ({"y.npy": b""}, {"files": {"test": {"x": "x.npy", "y": "z"}}},
                               "x.npy"),
        "npz-no-zip": ({"a.npz": npy(PIXELS)}, keys, "a.npz"),
        "npz-cut": ({"a.npz": good[:-30]}, keys, "a.npz"),
        "npz-damaged": ({"a.npz": good[:200] + b"\0" * 40 + good[240:]}, keys, "a.npz"),
        "npz-key": ({"a.npz": npz(x=PIXELS, labels=LABELS)}, keys, "a.npz"),
        "npz-keys": ({"a.npz": npz(data=PIXELS)}, keys, "a.npz"),
        "npz-objects": ({"a.npz": npz(x=harmful, y=LABELS)}, keys, "a.npz: x"),
    }  # fmt: skip


@pytest.mark.parametrize("code", refused())
def test_bad_array_is_one_line(code, tmp_path, capsys):
    changed, layout, where = refused()[code]
    good = {"x.npy": npy(PIXELS), "y.npy": npy(LABELS)}
    with raises_error(code, where=f"<tmp>/source/{where}"):
        own(tmp_path, good | changed, **layout)
    assert capsys.readouterr().out == ""
    assert list((tmp_path / "root").iterdir()) == []


def test_all_mistakes_at_once(tmp_path):
    files = {"a_x": npy(PIXELS), "a_y": npy(LABELS[:2]), "b_x": b"", "b_y": npy(LABELS)}
    with raises_error("npy-first-of-two", where="<tmp>/source/b_x", mistakes=2):
        own(tmp_path, files, files=TWO)


def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy(np.zeros((3, 1 << 20), dtype=np.uint8)))
    file = SourceFile("a.npz", "a.npz", None, buffer.getvalue(), 1)
    monkeypatch.setattr(numpy_files, "LARGEST", 1 << 20)
    with raises_error("npz-bomb", where="a.npz: x"):
        numpy_files.read_npz(file, ["x"])
    monkeypatch.setattr("harness.datasets.files.gzipped.LARGEST", 1000)
    packed = gzip.compress(bytes(2000))
    with raises_error("gzip-bomb", where="a.gz"):
        read_unpacked(SourceFile("a.gz", "a.gz", None, packed, len(packed)))


def test_gzip_of_several_members():
    blob = gzip.compress(b"ab") + gzip.compress(b"c") + bytes(10)
    assert read_unpacked(SourceFile("a.gz", "a", None, blob, len(blob))) == b"abc"


@pytest.mark.parametrize(("order", "x"), [("nchw", PIXELS), ("nf", PIXELS.reshape(6, 60))])
def test_what_is_too_small_for_the_crop_is_one_line(order, x, tmp_path):
    with pytest.raises(UserError, match="of which no square of 8 pixels can be cut"):
        own(tmp_path, {"x.npy": npy(x), "y.npy": npy(LABELS)}, {"crop": 8}, order=order)
