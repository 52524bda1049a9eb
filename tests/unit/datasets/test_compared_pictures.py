"""Pairs that are drawn from labelled pictures, and comparisons of one's own."""

from __future__ import annotations

import numpy as np

from tests.support.errors import raises_error
from tests.support.own_data import class_folders, describe, picture, read_own
from tests.support.sources import manifest, parts

LAYOUT = {"class_folders": {}}
COMPARE = {"attribute": "age", "values": {"cat": 3, "dog": 7}, "pairs": {"train": 9, "test": 40}}
OWN = {"task": "ranking", "layouts": [LAYOUT], "picture": {"channels": 1}, "compare": COMPARE}


def test_pairs_are_of_different_value(tmp_path):
    files = class_folders({"train": 5, "test": 3}, ("bird", "cat", "dog"))
    splits = read_own(tmp_path, files, **OWN)
    # birds have no value
    assert [len(split.x) for split in parts(splits).values()] == [10, 0, 6]
    assert [len(split.y) for split in parts(splits).values()] == [9, 0, 9]
    for count, split in ((5, splits.train), (3, splits.test)):
        for u, v, label, attribute in split.y.tolist():
            assert (u < count) != (v < count)  # cats come first
            assert (label, attribute) == (1 if v < count else -1, 0)
    assert splits.spec["classes"] == ["age"]
    note = manifest(tmp_path / "root", "own")["note"]
    assert note == "few pictures, hence 9 of 40 test pairs"


def test_pictures_of_one_value_are_refused(tmp_path):
    files = class_folders({"train": 5, "test": 3}, ("cat", "bird"))
    with raises_error("own-pictures-of-one-value", where="<tmp>/source"):
        read_own(tmp_path, files, **OWN)


def test_comparisons_of_ones_own(tmp_path):
    """Names with an ending that only the template has; attributes by number; no validation."""
    files = {f"faces/{name}.png": picture(at) for at, name in enumerate("abcd")}
    files["train.csv"] = b"a,b,1,1\nb,c,-1,1\r\nc,d,1,1\n"
    files["test.csv"] = b"a,d,1,0"
    layout = {
        "columns": ["u", "v", "label", "attribute"],
        "lists": [{"train": "train.csv", "test": "test.csv"}],
        "pictures": ["faces/{item}.png"],
    }
    own = {"task": "ranking", "classes": ["young", "smiling"], "picture": {"channels": 1}}
    splits = read_own(tmp_path, files, layouts=[{"comparisons": layout}], **own)
    assert splits.train.y.tolist() == [[0, 1, 1, 1], [1, 2, -1, 1], [2, 3, 1, 1]]
    assert splits.test.y.tolist() == [[0, 1, 1, 0]]
    assert [len(split.x) for split in parts(splits).values()] == [4, 0, 2]
    assert splits.train.x[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    note = manifest(tmp_path / "root", "own")["note"]
    assert note == (
        "no train comparison of young; no test comparison of smiling; "
        "2 test pictures are also in train (a = a first)"
    )


def test_rows_are_cut_in_each_attribute_alike(tmp_path):
    rows = [f"{u},{u + 1},1,{u % 2}\n" for u in range(40)]
    layout = {
        "columns": ["u", "v", "label", "attribute"],
        "lists": [{"train": "train.txt"}],
        "items": 41,
    }
    own = {"task": "ranking", "classes": ["young", "smiling"], "splits": {"val": 0.2, "test": 0.3}}
    splits = read_own(tmp_path, {"train.txt": "".join(rows).encode()},
                      layouts=[{"comparisons": layout}], **own)  # fmt: skip
    counts = [np.bincount(split.y[:, 3]).tolist() for split in parts(splits).values()]
    assert counts == [[11, 11], [3, 3], [6, 6]]


def test_the_key_holds_the_values(tmp_path):
    own, other = ({**COMPARE, "values": {"cat": 3, "dog": age}} for age in (7, 2))
    first = describe(tmp_path / "a", **OWN | {"compare": own}).reading()
    assert first != describe(tmp_path / "b", **OWN | {"compare": other}).reading()
