"""Parts of training sets: shares are tested with the bundled sets, shots here."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import datasets
from harness.datasets.base import Split, Splits, image_spec
from harness.datasets.fraction import train_rows
from tests.support.errors import raises_error

NOWHERE = Path("/nowhere")


def labelled(y, classes="abc", task="classification"):
    y = np.array(y)
    split = Split(np.zeros((len(y), 1, 2, 2), np.uint8), y, np.arange(len(y)) * 7)
    return Splits(image_spec(task, list(classes), (1, 2, 2)), split, split, split)


def test_shots_are_so_many_of_each_class_and_fewer_are_a_part_of_more():
    digits = datasets.load("digits", NOWHERE)
    before: set[int] = set()
    for shots in (1, 5, 80):
        rows = train_rows("digits", digits, shots=shots)
        assert np.bincount(digits.train.y[rows]).tolist() == [shots] * 10
        assert rows.tolist() == sorted(rows)
        assert before < set(rows.tolist())
        before = set(rows.tolist())


def test_shots_follow_the_ids_and_not_the_order():
    digits = datasets.load("digits", NOWHERE)
    rows = train_rows("digits", digits, shots=3)
    back = Split(digits.train.x[::-1], digits.train.y[::-1], digits.train.ids[::-1])
    mirrored = train_rows("digits", Splits(digits.spec, back, digits.val, digits.test), shots=3)
    assert sorted(back.ids[mirrored]) == sorted(digits.train.ids[rows])


def test_a_class_with_fewer_examples_is_named():
    with raises_error("shots-of-a-small-class", where="data set s"):
        train_rows("s", labelled([0, 0, 1, 2, 2]), shots=2)
    with raises_error("shots-of-an-empty-class", where="data set s"):
        train_rows("s", labelled([0, 0, 1, 1], classes="abcd"), shots=2)


@pytest.mark.parametrize("name", ["digit-scenes", "digits-ranking"])
def test_examples_without_one_class_have_no_shots(name):
    splits = datasets.load(name, NOWHERE)
    with raises_error("shots-elsewhere", where=f"data set {name}", task=splits.spec["task"]):
        train_rows(name, splits, shots=2)


def test_parts_are_disjoint_whole_and_of_whole_groups():
    tracks = labelled([0] * 12 + [1] * 8, classes="ab")
    groups = np.repeat(np.arange(10), 2)
    splits = replace(tracks, train=replace(tracks.train, groups=groups))
    parts = [train_rows("s", splits, part=(number, 2)) for number in (1, 2)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(20))
    assert not set(groups[parts[0]]) & set(groups[parts[1]])
    assert [np.bincount(splits.train.y[rows]).tolist() for rows in parts] == [[6, 4], [6, 4]]


def test_shots_and_shares_count_within_a_part():
    digits = datasets.load("digits", NOWHERE)
    whole = [set(train_rows("digits", digits, part=(number, 3)).tolist()) for number in (1, 2, 3)]
    shots = train_rows("digits", digits, shots=4, part=(2, 3))
    assert np.bincount(digits.train.y[shots]).tolist() == [4] * 10
    assert set(shots.tolist()) < whole[1]
    share = train_rows("digits", digits, fraction=0.5, part=(2, 3))
    assert len(share) == round(len(whole[1]) / 2)
    assert set(share.tolist()) < whole[1]


def test_a_class_with_fewer_groups_than_parts_is_named():
    with raises_error("parts-of-a-small-class", where="data set s"):
        train_rows("s", labelled([0, 0, 1, 2, 2]), part=(1, 2))
    with raises_error("parts-elsewhere", where="data set digit-scenes"):
        train_rows("digit-scenes", datasets.load("digit-scenes", NOWHERE), part=(1, 2))
