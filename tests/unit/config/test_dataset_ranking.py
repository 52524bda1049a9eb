"""Descriptions of ranking sets: each mistake is one line with its place."""

import pytest

from harness.common.errors import UserErrors
from tests.support.own_data import describe

GOOD = {"columns": ["u", "v", "label"], "lists": [{"train": "train.txt"}]}


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"columns": ["u", "label"]}, ".columns", "neither a pair nor a triplet"),
        ({"columns": ["u", "v", "a", "p", "q"]}, ".columns", "neither a pair nor a triplet"),
        ({"columns": ["u", "v", "u"]}, ".columns", "duplicate entry"),
        ({"columns": ["u", "v", "votes"]}, ".columns[2]", "strength"),
        ({"columns": ["a", "p", "q"]}, ".dimensions", "triplets need it"),
        ({"dimensions": 5}, ".dimensions", "means nothing for pairs"),
        ({"lists": []}, ".lists", "at least one"),
        ({"lists": [{}]}, ".lists[0]", "files by split"),
        ({"lists": [{"train": "{split}.txt"}]}, ".lists[0]", "without fields"),
        ({"lists": [{"train": "../train.txt"}]}, ".lists[0].train", "below the source"),
        ({"pictures": ["imgs"]}, ".pictures[0]", "has no {item}"),
        ({"items": 0}, ".items", "at least 1"),
    ],
)
def test_a_mistake_of_comparisons_is_one_line(changes, place, words, tmp_path):
    line = refused(tmp_path, layouts=[{"comparisons": GOOD | changes}], classes=["taste"])
    assert f": layouts[0].comparisons{place}:" in line, line
    assert words in line, line


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"ranks": "x"}, "", "one variable twice"),
        ({"pairs": {}}, ".pairs", "numbers by split"),
        ({"pairs": {"all": 3}}, ".pairs.all", "train"),
        ({"file": "/a.mat"}, ".file", "below the source"),
    ],
)
def test_a_mistake_of_ranked_features_is_one_line(changes, place, words, tmp_path):
    good = {"file": "a.mat", "features": "x", "labels": "y", "ranks": "r", "train": "t"}
    layout = {"ranked_features": good | {"pairs": {"train": 3}} | changes}
    line = refused(tmp_path, layouts=[layout], classes=["taste"])
    assert f": layouts[0].ranked_features{place}:" in line, line
    assert words in line, line


def test_attributes_need_names(tmp_path):
    line = refused(tmp_path, layouts=[{"comparisons": GOOD}])
    assert ": classes:" in line, line


def refused(tmp_path, **changes: object) -> str:
    with pytest.raises(UserErrors) as caught:
        describe(tmp_path, task="ranking", **changes)
    (line,) = str(caught.value).splitlines()
    return line
