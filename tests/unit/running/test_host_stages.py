"""Host stages: arrays are linked or copied in parts, and what they store is what was asked for."""

import shutil
import stat

import numpy as np
import pytest

from harness import datasets
from harness.common import files
from harness.common.errors import UserError
from harness.common.files import load_array, read_json, save_array
from harness.datasets import Datasets, read
from harness.datasets.base import Split, Splits, image_spec
from harness.datasets.hashing import hash_order
from harness.datasets.published import examples_digest
from harness.planning.recipe import ApplyRecipe, DataRecipe, SubsetRecipe
from harness.running import host_stages
from harness.running.host_stages import HOST_STAGES, StageFailure
from harness.running.overlays import load_overlay
from harness.runtime.worker.job_file import CONTENT
from harness.storage.receipt import ReceiptDraft
from harness.storage.store import Store
from tests.support.own_data import class_folders, describe
from tests.support.sources import write_folder

SPLITS = ("train", "val", "test")
SHAPE, STORED = (1, 4, 4), (1, 6, 7)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Parts of few rows, so that every array is copied in several."""
    monkeypatch.setattr(files, "PART_BYTES", 100)


def fetched(root, shape=SHAPE, *, judged=False):
    """A data set of 40, 10 and 20 pictures, mapped from files of a data root."""
    found = {}
    random = np.random.default_rng(0)
    for name, count, first in zip(SPLITS, (40, 10, 20), (0, 100, 200), strict=True):
        arrays = {
            "x": random.integers(0, 256, (count, *shape), dtype=np.uint8),
            "y": np.arange(count) % 4,
            "ids": np.arange(first, first + count),
        }
        if judged:
            arrays |= {"boxes": np.arange(4 * count).reshape(count, 4), "groups": arrays["y"] // 2}
        for part, array in arrays.items():
            save_array(root / "set" / f"{name}_{part}.npy", array)
        found[name] = Split(**{p: load_array(root / "set" / f"{name}_{p}.npy") for p in arrays})
    stored = None if shape == SHAPE else shape
    return Splits(image_spec("classification", list("abcd"), SHAPE, stored=stored), **found)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data root, and a run of the data stage on it: ``run(**options of fetched)``."""

    def run(recipe=("set", "digest", 1.0), **options):
        splits = fetched(tmp_path / "root", **options)
        monkeypatch.setattr(datasets, "load", lambda name, root: splits)
        out = tmp_path / "data"
        host_stages.data(DataRecipe(*recipe), {}, out, tmp_path / "root")
        return splits, out

    return run


def same_file(first, second):
    return (first.stat().st_dev, first.stat().st_ino) == (
        second.stat().st_dev,
        second.stat().st_ino,
    )


# -- data ----------------------------------------------------------------------------------------


def test_whole_splits_are_links_that_nobody_may_write_to(root, tmp_path):
    splits, out = root()
    for name in SPLITS:
        for part in ("x", "y", "ids"):
            stored, source = out / name / f"{part}.npy", tmp_path / f"root/set/{name}_{part}.npy"
            assert same_file(stored, source)
            assert stat.S_IMODE(source.stat().st_mode) == 0o444
            assert np.array_equal(load_array(stored), getattr(getattr(splits, name), part))


@pytest.mark.parametrize(("fraction", "shots", "count"), [(0.5, None, 20), (1.0, 3, 12)])
def test_a_part_of_the_training_set_is_copied(root, tmp_path, fraction, shots, count):
    splits, out = root(("set", "digest", fraction, shots))
    ids = load_array(out / "train" / "ids.npy")
    assert len(ids) == count
    assert np.array_equal(load_array(out / "train" / "x.npy"), splits.train.x[ids])
    assert np.array_equal(load_array(out / "train" / "y.npy"), splits.train.y[ids])
    assert (out / "train" / "x.npy").stat().st_nlink == 1
    assert same_file(out / "test" / "x.npy", tmp_path / "root/set/test_x.npy")


def test_the_store_takes_links_of_the_harness_and_outlives_a_new_fetch(root, tmp_path):
    splits, out = root()
    store, key = Store(tmp_path / "store"), "ab" + "0" * 62
    with pytest.raises(ValueError, match="a hard link"):
        store.commit(key, out, ReceiptDraft("data", "ok"))
    store.commit(key, out, ReceiptDraft("data", "ok"), linked=True)
    x = np.array(splits.train.x)
    (tmp_path / "root" / "set").rename(tmp_path / "root" / "replaced")  # as a fetch does
    save_array(tmp_path / "root" / "set" / "train_x.npy", np.zeros_like(x))
    assert np.array_equal(load_array(store.part(key, "train") / "x.npy"), x)
    store.drop(key)
    assert np.array_equal(load_array(tmp_path / "root" / "replaced" / "train_x.npy"), x)


def test_a_link_that_can_be_written_to_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "mine").write_text("x")
    (tmp_path / "out" / "x").hardlink_to(tmp_path / "mine")
    with pytest.raises(ValueError, match="a hard link"):
        Store(tmp_path / "store").commit(
            "ab" + "0" * 62, tmp_path / "out", ReceiptDraft("data", "ok"), linked=True
        )


@pytest.mark.parametrize("change", ["part", "reversed", "elsewhere", "in memory", "Fortran"])
def test_only_whole_files_of_the_data_root_are_linked(tmp_path, change):
    root = tmp_path / "root"
    save_array(root / "x.npy", np.arange(60, dtype=np.uint8).reshape(10, 6))
    np.save(root / "fortran.npy", np.asfortranarray(load_array(root / "x.npy")))
    array = {
        "part": load_array(root / "x.npy")[1:],
        "reversed": load_array(root / "x.npy")[::-1],
        "elsewhere": load_array(root / "x.npy"),
        "in memory": np.array(load_array(root / "x.npy")),
        "Fortran": load_array(root / "fortran.npy"),
    }[change]
    files.store_rows(tmp_path / "y.npy", array, tmp_path / "b" if change == "elsewhere" else root)
    assert (tmp_path / "y.npy").stat().st_nlink == 1
    assert np.array_equal(np.load(tmp_path / "y.npy"), array)


@pytest.mark.parametrize("shape", [(0, 3), (1,), (7, 2, 3), (50,)])
def test_parts_are_stored_as_a_whole_array_is(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    save_array(tmp_path / "whole.npy", array)
    files.store_rows(tmp_path / "parts.npy", array, tmp_path)
    assert (tmp_path / "parts.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


# -- test examples -------------------------------------------------------------------------------


def cut(out, tmp_path, examples=8, split="test"):
    inputs = {"data": out / split, "spec": out}
    host_stages.slice_(SubsetRecipe(examples), inputs, tmp_path / "slice", tmp_path)
    return tmp_path / "slice"


def test_test_examples_are_cut_from_the_middle_of_larger_pictures(root, tmp_path):
    splits, out = root(shape=STORED)
    subset = cut(out, tmp_path)
    rows = hash_order(splits.test.ids, "slice")[:8]
    assert np.array_equal(load_array(subset / "x" / "x.npy"), splits.test.x[rows][..., 1:5, 1:5])
    assert np.array_equal(load_array(subset / "y" / "ids.npy"), splits.test.ids[rows])


def cut_listed(out, tmp_path, text, examples=3):
    listed = tmp_path / "listed"
    listed.mkdir(exist_ok=True)
    (listed / CONTENT).write_text(text)
    inputs = {"data": out / "test", "spec": out, "rows": listed}
    host_stages.slice_(SubsetRecipe(examples), inputs, tmp_path / "slice", tmp_path)
    return tmp_path / "slice"


def test_test_examples_of_a_list_are_those_and_in_the_usual_order(root, tmp_path):
    splits, out = root()
    order = hash_order(splits.test.ids, "slice").tolist()
    subset = cut_listed(out, tmp_path, "5\n2\n\n7\n")
    wanted = [row for row in order if row in (2, 5, 7)]
    assert load_array(subset / "rows" / "rows.npy").tolist() == wanted
    assert np.array_equal(load_array(subset / "y" / "ids.npy"), splits.test.ids[wanted])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("1\n900\n3\n", "a row 900 is asked for"),
        ("1\n2\n", "asks for 3 examples, the list of rows"),
    ],
)
def test_a_list_beyond_the_split_or_too_short_is_refused(root, tmp_path, text, what):
    _, out = root()
    with pytest.raises(StageFailure, match=what) as caught:
        cut_listed(out, tmp_path, text)
    assert caught.value.status == "not_applicable"


def test_examples_have_a_digest_in_any_order(root, tmp_path):
    splits, out = root()
    first = read_json(cut_listed(out, tmp_path, "5\n2\n7\n") / "rows" / "examples.json")
    shutil.rmtree(tmp_path / "slice")
    assert read_json(cut_listed(out, tmp_path, "7\n5\n2\n") / "rows" / "examples.json") == first
    shutil.rmtree(tmp_path / "slice")
    assert read_json(cut_listed(out, tmp_path, "7\n5\n3\n") / "rows" / "examples.json") != first
    shutil.rmtree(tmp_path / "slice")
    every = len(splits.test.ids)
    whole = read_json(cut(out, tmp_path, examples=every) / "rows" / "examples.json")
    np.save(tmp_path / "test_x.npy", splits.test.x)
    np.save(tmp_path / "test_y.npy", splits.test.y)
    assert whole == examples_digest(tmp_path / "test_x.npy", tmp_path / "test_y.npy")


@pytest.mark.parametrize(
    ("task", "shape", "stored"),
    [
        ("segmentation", SHAPE, STORED),
        ("classification", STORED, SHAPE),
        ("classification", SHAPE, (3, 6, 6)),
    ],
)
def test_what_cannot_be_cropped_is_refused(task, shape, stored):
    with pytest.raises(ValueError, match="cannot be cropped from"):
        image_spec(task, ["a"], shape, stored=stored)


def test_boxes_and_groups_are_parts_that_no_split_holds(root, tmp_path):
    splits, out = root(judged=True)
    assert {p.name for p in (out / "train").iterdir()} == {"x.npy", "y.npy", "ids.npy"}
    assert np.array_equal(load_array(out / "boxes" / "train.npy"), splits.train.boxes)
    subset = cut(out, tmp_path)
    rows = hash_order(splits.test.ids, "slice")[:8]
    assert np.array_equal(load_array(subset / "boxes" / "boxes.npy"), splits.test.boxes[rows])
    assert np.array_equal(load_array(subset / "groups" / "groups.npy"), splits.test.groups[rows])
    assert {p.name for p in (subset / "x").iterdir()} == {"x.npy", "ids.npy"}


def test_a_set_without_boxes_has_no_such_parts(root, tmp_path):
    _, out = root()
    assert {p.name for p in out.iterdir()} == {*SPLITS, "spec.json"}
    assert {p.name for p in cut(out, tmp_path).iterdir()} == {"x", "y", "rows", "spec.json"}


# -- changed training sets -----------------------------------------------------------------------


def edit(out, tmp_path, budget, **arrays):
    for name, array in arrays.items():
        save_array(tmp_path / "changes" / f"{name}.npy", array)
    inputs = {"train": out / "train", "changes": tmp_path / "changes", "spec": out}
    host_stages.apply(ApplyRecipe(budget), inputs, tmp_path / "applied", tmp_path)
    return tmp_path / "applied" / "train"


def test_edits_change_their_rows_alone(root, tmp_path):
    splits, out = root()
    ids = np.array([33, 2, 17])
    x, y = np.full((3, *SHAPE), 0.5, np.float32), np.array([3, 3, 3])
    budget = {"edits": 0.1, "labels": True, "features": True}
    applied = edit(out, tmp_path, budget, ids=ids, x=x, y=y)
    expected_x, expected_y = np.array(splits.train.x), np.array(splits.train.y)
    expected_x[ids], expected_y[ids] = 128, 3
    assert np.array_equal(load_array(applied / "x.npy"), expected_x)
    assert np.array_equal(load_array(applied / "y.npy"), expected_y)
    assert np.array_equal(load_array(applied / "ids.npy"), splits.train.ids)


def test_edits_of_larger_pictures_change_their_middle(root, tmp_path):
    splits, out = root(shape=STORED)
    x = np.full((1, *SHAPE), 1, np.float32)
    applied = edit(out, tmp_path, {"edits": 0.1, "features": True}, ids=np.array([5]), x=x)
    expected = np.array(splits.train.x)
    expected[5, :, 1:5, 1:5] = 255
    assert np.array_equal(load_array(applied / "x.npy"), expected)


def test_edits_of_labels_store_no_second_copy_of_the_pictures(root, tmp_path):
    _, out = root()
    budget = {"edits": 0.1, "labels": True}
    applied = edit(out, tmp_path, budget, ids=np.array([5]), y=np.array([3]))
    assert same_file(applied / "x.npy", out / "train" / "x.npy")
    assert load_array(applied / "y.npy")[5] == 3


@pytest.mark.parametrize("kept", [40, 13])
def test_a_sanitizers_choice_is_copied_unless_it_keeps_all(root, tmp_path, kept):
    splits, out = root()
    mask = np.arange(40) < kept
    applied = edit(out, tmp_path, None, mask=mask, y=(splits.train.y + 1) % 4)
    assert np.array_equal(load_array(applied / "x.npy"), splits.train.x[:kept])
    assert np.array_equal(load_array(applied / "y.npy"), (splits.train.y[:kept] + 1) % 4)
    assert same_file(applied / "x.npy", out / "train" / "x.npy") == (kept == 40)


def test_a_set_that_was_fetched_again_after_the_plan_is_not_stored_under_its_key(tmp_path):
    root, own = tmp_path / "root", describe(tmp_path, picture={"channels": 1})
    for count in (3, 2):  # the second time, the plan is of the first
        source = write_folder(tmp_path / str(count), class_folders({"train": count, "test": 2}))
        read.fetch(own, root, source)
        recipe = DataRecipe("own", Datasets(root, [own]).key_digest("own"), 1.0)
        if count == 3:
            planned = recipe
        HOST_STAGES["data"](recipe, {}, tmp_path / f"out{count}", root)
    with pytest.raises(UserError, match="was replaced after the plan was made"):
        HOST_STAGES["data"](planned, {}, tmp_path / "out", root)


# -- overlays ------------------------------------------------------------------------------------

OVERLAY = {
    "ids": np.array([7, 5]),
    "patch": np.full((1, 2, 1), 1, np.float32),
    "mask": np.array([[[1], [0.5]]], np.float32),
    "places": np.array([[0, 3], [2, 0]]),
}


def overlaid(out, tmp_path, budget=None, **changes):
    """The training set after edits with an overlay: labels of three examples, two with it."""
    folder = tmp_path / "changes" / "overlay"
    for name, array in (OVERLAY | changes).items():
        save_array(folder / f"{name}.npy", array)
    budget = {"edits": 0.1, "features": True, "labels": True} | (budget or {})
    return edit(out, tmp_path, budget, ids=np.array([5, 7, 9]), y=np.array([3, 3, 3]))


@pytest.mark.parametrize("shape", [SHAPE, STORED])
def test_an_overlay_lies_beside_pictures_that_stay_one_file(root, tmp_path, shape):
    _, out = root(shape=shape)
    applied = overlaid(out, tmp_path)
    assert same_file(applied / "x.npy", out / "train" / "x.npy")
    assert load_array(applied / "y.npy")[[5, 7, 9]].tolist() == [3, 3, 3]
    for name, array in OVERLAY.items():
        assert np.array_equal(load_array(applied / "overlay" / f"{name}.npy"), array)
    assert sum(p.stat().st_size for p in (applied / "overlay").iterdir()) < 1000


@pytest.mark.parametrize("shape", [SHAPE, STORED])
def test_a_sanitizer_is_shown_the_pictures_and_not_the_list(root, tmp_path, shape):
    splits, out = root(shape=shape)
    inputs = {"train": overlaid(out, tmp_path), "spec": out}
    host_stages.apply(ApplyRecipe(None), inputs, tmp_path / "shown", tmp_path)
    shown = tmp_path / "shown" / "train"
    assert sorted(p.name for p in shown.iterdir()) == ["ids.npy", "x.npy", "y.npy"]
    expected = np.array(splits.train.x if shape == SHAPE else splits.train.x[..., 1:5, 1:5])
    for row, (top, left) in ((7, (0, 3)), (5, (2, 0))):
        expected[row, 0, top, left] = 255
        half = (expected[row, 0, top + 1, left] / np.float32(255) + 1) / 2 * 255
        expected[row, 0, top + 1, left] = np.rint(half)
    assert np.array_equal(load_array(shown / "x.npy"), expected)


def test_without_an_overlay_a_sanitizer_is_shown_the_same_files(root, tmp_path):
    _, out = root()
    inputs = {"train": out / "train", "spec": out}
    host_stages.apply(ApplyRecipe(None), inputs, tmp_path / "shown", tmp_path)
    assert same_file(tmp_path / "shown" / "train" / "x.npy", out / "train" / "x.npy")


def test_what_a_sanitizer_keeps_keeps_its_overlay(root, tmp_path):
    _, out = root()
    first = overlaid(out, tmp_path)
    inputs = {"train": first, "changes": tmp_path / "choice", "spec": out}
    found = []
    for dropped in ([7], [5, 7]):
        save_array(tmp_path / "choice" / "mask.npy", ~np.isin(np.arange(40), dropped))
        kept = tmp_path / f"without {dropped}"
        host_stages.apply(ApplyRecipe(None), inputs, kept, tmp_path)
        found.append(load_overlay(kept / "train"))
    assert (found[0].ids.tolist(), found[0].places.tolist()) == ([5], [[2, 0]])
    assert found[1] is None


@pytest.mark.parametrize(
    ("budget", "changes", "reason"),
    [
        ({"patch": 1}, {}, "overlay: height of the changed box is 2, the limit is 1"),
        ({"pixels": 1}, {}, "overlay: number of changed pixels is 2, the limit is 1"),
        ({"features": False}, {}, "the budget allows labels only"),
        ({"edits": 0.05}, {}, "3 edits, the limit is 2"),
        ({}, {"ids": np.array([7, 8])}, "is not among the edits: 1 of 2"),
        ({}, {"places": np.array([[0, 3], [3, 0]])}, "leaves the picture: 1 of 2"),
    ],
)
def test_an_overlay_over_budget_ends_the_stage(root, tmp_path, budget, changes, reason):
    _, out = root()
    with pytest.raises(host_stages.StageFailure, match=reason) as caught:
        overlaid(out, tmp_path, budget, **changes)
    assert (caught.value.status, caught.value.by) == ("budget_violation", "attack")
