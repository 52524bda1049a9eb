"""The table of data sets, and the bundled sets: fixed, disjoint, true to their source."""

from __future__ import annotations

import inspect
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness import datasets
from harness.datasets import BUNDLED, Datasets, stored
from harness.datasets.bundled import code_digest, digit_pairs, digits, scenes
from harness.datasets.hashing import draws, hash_order
from harness.datasets.pictures import reader as image_files
from harness.runtime.contracts import Spec
from tests.support.errors import raises_error
from tests.support.small_images import arrays_digest, assert_disjoint
from tests.support.sources import all_sets, parts

NOWHERE = Path("/nowhere")

REPOSITORY = Path(__file__).resolve().parents[3]


# A change here changes every published number of these data sets: say so.
PINNED = {
    "digits": "0dccd2bf09c60fe51e4313353e15da4a089ec0432b884fc8c1092abfca8b4ae9",
    "digits-0-4": "8d96b4a1e636b088271231bfd98d3897d1dcb9e6cdca3e78ef95a953f1eb5311",
    "digits-5-9": "a7332ce916899dd6a44bf42c79d8a3b28e7c03fa2679529bdb9250b2cced8887",
    "digits-ranking": "a1f6d5645c94dad4203effc1b5d06139e1dc7ea9ad02c9a4118c71b57c4b6daf",
    "digit-scenes": "7366d357dd473e75713ee05ef396740a20642c73397be5b1542b531d15be7289",
}


def test_every_bundled_set_is_pinned():
    assert sorted(BUNDLED) == sorted(PINNED)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_arrays_are_fixed(name):
    assert arrays_digest(datasets.load(name, NOWHERE)) == PINNED[name]


@pytest.mark.parametrize("name", BUNDLED)
def test_splits_are_disjoint_and_of_the_declared_form(name):
    splits = datasets.load(name, NOWHERE)
    spec = splits.spec
    assert_disjoint(splits)
    assert set(spec) == {"task", "outputs", "shape", "items", "arity", "void", "classes"}
    assert json.loads(json.dumps(spec)) == spec
    assert spec["task"] == BUNDLED[name].task
    for split in parts(splits).values():
        assert split.x.dtype == np.uint8
        assert list(split.x.shape[1:]) == spec["shape"]
        assert len(split.y) == len(split.ids)
        assert split.x.flags.c_contiguous


@pytest.mark.parametrize("name", BUNDLED)
def test_card_states_the_true_counts(name):
    size = BUNDLED[name].card.size.replace(",", "")
    splits = datasets.load(name, NOWHERE)
    for part, word in {"train": "train", "val": "validation", "test": "test"}.items():
        assert f"{len(parts(splits)[part].ids)} {word}" in size


def test_every_card_is_complete():
    found = list(all_sets(NOWHERE))
    assert len(found) > len(BUNDLED) + 10
    for dataset in found:
        card = dataset.card
        assert all([card.title, card.license, card.citation, card.source, card.size]), dataset.name
        assert (dataset.bundled is None) == (dataset.manifest is not None)


def test_spec_fields_are_those_of_the_runtime():
    spec = datasets.load("digits", NOWHERE).spec
    assert set(spec) | {"stored"} == set(Spec.__dataclass_fields__)


def test_unknown_name_names_the_nearest():
    with raises_error("unknown-data-set", where="data set digit-ranking"):
        Datasets(NOWHERE).get("digit-ranking")


def test_importing_the_table_imports_only_numpy():
    code = (
        "import sys, harness.datasets;"
        "print([m for m in ('torch', 'torchvision', 'sklearn', 'PIL') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert out.stdout.strip() == "[]"


def test_digests_differ_between_bundled_sets_and_repeat():
    digests = [Datasets(NOWHERE).key_digest(name) for name in BUNDLED]
    assert len(set(digests)) == len(BUNDLED) or digests[0] == digests[1] == digests[2]
    assert digests == [Datasets(Path("/elsewhere")).key_digest(name) for name in BUNDLED]


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        (scenes, {"digit-scenes"}),
        (digit_pairs, {"digits-ranking"}),
        (digits, set(BUNDLED)),
        (image_files, set()),
        (stored, set()),
    ],
)
def test_digests_cover_the_code_of_their_own_family_alone(changed, stale, monkeypatch):
    before = {name: code_digest(name) for name in BUNDLED}
    source = inspect.getsource

    def edited(part):
        return source(part) + ("# edited" if part is changed else "")

    monkeypatch.setattr(inspect, "getsource", edited)
    after = {name: code_digest(name) for name in BUNDLED}
    assert {name for name in BUNDLED if after[name] != before[name]} == stale


def test_hash_order_is_a_permutation_that_ignores_company():
    ids = np.arange(100, dtype=np.int64)
    order = hash_order(ids, "salt")
    assert sorted(order.tolist()) == ids.tolist()
    assert order.tolist() != hash_order(ids, "other").tolist()
    even = ids[::2]
    assert even[hash_order(even, "salt")].tolist() == [i for i in order.tolist() if i % 2 == 0]


def test_draws_are_even():
    values = draws("test", 10_000)
    counts = np.histogram(values, bins=10, range=(0, 1))[0]
    assert counts.sum() == 10_000
    assert counts.min() > 900


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    splits = datasets.load("digits", NOWHERE)
    assert [len(split.ids) for split in parts(splits).values()] == [1000, 297, 500]
    for split in parts(splits).values():
        assert np.array_equal(split.y, bunch.target[split.ids])
        assert np.array_equal(split.x[:, 0], np.rint(bunch.images[split.ids] * 255 / 16))


@pytest.mark.parametrize(("name", "first"), [("digits-0-4", 0), ("digits-5-9", 5)])
def test_halves_are_the_whole_filtered(name, first):
    whole, half = datasets.load("digits", NOWHERE), datasets.load(name, NOWHERE)
    assert half.spec["classes"] == [str(first + k) for k in range(5)]
    for part, split in parts(half).items():
        full = parts(whole)[part]
        rows = np.isin(full.ids, split.ids)
        assert np.array_equal(full.y[rows], split.y + first)
        assert np.array_equal(full.x[rows], split.x)
        assert sorted(set(split.y.tolist())) == [0, 1, 2, 3, 4]


def test_ranking_labels_agree_with_the_digits():
    whole, ranked = datasets.load("digits", NOWHERE), datasets.load("digits-ranking", NOWHERE)
    assert [len(split.y) for split in parts(ranked).values()] == [2000, 400, 1000]
    for part, split in parts(ranked).items():
        items = parts(whole)[part]
        assert np.array_equal(split.x, items.x)
        first, second, label, attribute = split.y.T
        assert np.array_equal(label, np.sign(items.y[first] - items.y[second]))
        assert set(label.tolist()) == {-1, 1}
        assert abs(label.mean()) < 0.12
        assert not attribute.any()
        unordered = {frozenset(pair) for pair in split.y[:, :2].tolist()}
        assert len(unordered) == len(split.y)


def test_scenes_have_digits_and_a_border_of_void():
    splits = datasets.load("digit-scenes", NOWHERE)
    assert [len(split.ids) for split in parts(splits).values()] == [160, 24, 48]
    for split in parts(splits).values():
        assert split.y.dtype == np.uint8
        assert set(np.unique(split.y).tolist()) == {*range(11), scenes.VOID}
        for labels in split.y:
            void, digit = labels == scenes.VOID, (labels > 0) & (labels != scenes.VOID)
            near = np.pad(digit, 1)
            near = np.lib.stride_tricks.sliding_window_view(near, (3, 3)).any(axis=(2, 3))
            assert np.array_equal(void, near & ~digit)
            assert 0.03 < digit.mean() < 0.5


def test_scenes_of_different_splits_share_no_pixels():
    ranges = sorted((part.top, part.bottom) for part in scenes.PARTS)
    assert all(low[1] <= high[0] for low, high in itertools.pairwise(ranges))


def test_digits_in_a_scene_are_brighter_than_their_ground():
    train = datasets.load("digit-scenes", NOWHERE).train
    luminance = train.x.mean(axis=1)
    assert luminance[(train.y > 0) & (train.y != scenes.VOID)].mean() > 150
    assert luminance[train.y == 0].mean() < 100


@pytest.mark.parametrize("name", BUNDLED)
def test_train_fractions_are_nested_and_leave_the_rest_alone(name):
    whole = datasets.load(name, NOWHERE)
    small, large = (datasets.load(name, NOWHERE, share) for share in (0.1, 0.5))
    assert len(small.train.ids) == round(0.1 * len(whole.train.ids))
    assert set(small.train.ids.tolist()) < set(large.train.ids.tolist())
    assert np.array_equal(small.test.ids, whole.test.ids)
    rows = np.isin(whole.train.ids, small.train.ids)
    assert np.array_equal(whole.train.y[rows], small.train.y)
    if whole.spec["task"] == "ranking":
        assert np.array_equal(whole.train.x, small.train.x)
    else:
        assert np.array_equal(whole.train.x[rows], small.train.x)


def test_impossible_train_fraction_is_the_users_mistake():
    for share in (0, -0.5, 1.5, float("nan")):
        with raises_error("no-share-of-train", where="data set digits", share=share):
            datasets.load("digits", NOWHERE, share)
    with raises_error("share-of-no-example", where="data set digits"):
        datasets.load("digits", NOWHERE, 0.0001)
