"""Data that are on another machine: the same keys and cells, which are missing to run here."""

import json
import shutil

import pytest
from rich.console import Console

from harness.commands.data import write_digests
from harness.common.errors import UserError
from harness.datasets import read
from harness.datasets.digests import read_digest
from tests.support.errors import raises_error
from tests.support.own_data import class_folders, describe
from tests.support.sources import write_folder
from tests.support.workspaces import Checkout, matrix

OWN = matrix(data={"student": "own"}, eval_subset={"examples": 6, "batch": 6}, borrow="all")
PICTURE = {"channels": 1, "size": 8}


@pytest.fixture
def checkout(tmp_path):
    """Return a checkout with a set of its own, stored and with its digest committed."""
    found = Checkout(tmp_path / "checkout")
    describe(found.root / "benchmarks" / "data", picture=PICTURE, splits={"val": 0.2})
    source = write_folder(tmp_path / "source", class_folders({"train": 10, "test": 4}))
    fetch(found, source)
    write_digests(found.workspace(), "own", Console(quiet=True))
    return found


def fetch(checkout, source):
    manifest = checkout.workspace().datasets.get("own").manifest
    read.fetch(manifest, checkout.workspace().data, source)


def leave(checkout):
    """Leave the data behind, as a fresh clone does."""
    shutil.rmtree(checkout.workspace().data)


def keys(plan):
    return {cell.id: (cell.key, dict(cell.stages)) for cell in plan.cells.values()}


def test_keys_are_equal_with_and_without_the_data(checkout):
    here = checkout.plan(OWN)
    assert {cell.reason for cell in here.cells.values()} == {None}
    leave(checkout)
    elsewhere = checkout.plan(OWN)
    assert keys(elsewhere) == keys(here)
    assert {cell.status for cell in elsewhere.cells.values()} == {"missing"}
    (reason,) = {cell.reason for cell in elsewhere.cells.values()}
    assert "is not in the data folder; run `gauntlet data fetch own`" in reason


def test_a_set_with_a_folder_of_its_own_names_its_file(checkout):
    leave(checkout)
    data = checkout.root / "benchmarks" / "data"
    describe(data, picture=PICTURE, splits={"val": 0.2}, folder="../../../source")
    (reason,) = {cell.reason for cell in checkout.plan(OWN).cells.values()}
    assert reason.endswith("is not in the data folder; run `gauntlet check PATH/own.yaml`")


def test_without_a_digest_cells_have_no_stages(checkout):
    leave(checkout)
    shutil.rmtree(checkout.workspace().digests)
    (cell,) = checkout.plan(OWN).cells.values()
    assert (cell.status, cell.stages) == ("missing", {})


def test_a_run_here_records_them_as_missing_and_a_result_of_elsewhere_counts(checkout):
    benchmark = checkout.benchmark(OWN)
    shutil.move(checkout.workspace().data, checkout.root / "aside")
    assert checkout.run(benchmark).tally.stages == 0
    (record,) = checkout.records().values()
    assert (record.status, record.by) == ("missing", "harness")
    shutil.move(checkout.root / "aside", checkout.workspace().data)
    assert checkout.run(benchmark).tally.stages > 0
    leave(checkout)
    (cell,) = checkout.plan(OWN).cells.values()
    (record,) = checkout.records().values()
    assert (record.key, record.status) == (cell.key, "ok")
    assert "1 of 1 cells recorded, 0 to do" in checkout.gauntlet("plan", "b").stdout


def test_another_description_does_not_take_the_digest(checkout):
    leave(checkout)
    describe(checkout.root / "benchmarks" / "data", picture=PICTURE, splits={"val": 0.4})
    assert checkout.workspace().datasets.committed("own") is None


def test_a_copy_of_another_description_is_as_good_as_none(checkout):
    here = checkout.plan(OWN)
    describe(checkout.root / "benchmarks" / "data", picture=PICTURE, splits={"val": 0.4})
    sets = checkout.workspace().datasets
    assert (sets.get("own").here, sets.get("own").facts) == (None, None)
    describe(checkout.root / "benchmarks" / "data", picture=PICTURE, splits={"val": 0.2})
    assert keys(checkout.plan(OWN)) == keys(here)


def test_another_copy_counts_itself_and_is_named(checkout, tmp_path):
    here = checkout.plan(OWN)
    assert checkout.workspace().datasets.note("own") == ""
    fetch(checkout, write_folder(tmp_path / "other", class_folders({"train": 11, "test": 4})))
    assert keys(checkout.plan(OWN)) != keys(here)
    assert checkout.workspace().datasets.note("own") == "not the copy of the committed digest"


def test_a_damaged_digest_is_named(tmp_path):
    (tmp_path / "own.json").write_text("{")
    with raises_error("data-digest-damaged", where=tmp_path / "own.json"):
        read_digest("own", tmp_path)
    (tmp_path / "own.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="is damaged"):
        read_digest("own", tmp_path)
    (tmp_path / "own.json").write_text(json.dumps({"reading": "0" * 64}))
    with raises_error("data-digest-lacks-fields", where=tmp_path / "own.json"):
        read_digest("own", tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sha256", "none"),
        ("counts", {}),
        ("counts", {"train": 1, "val": 0, "test": 10**30}),
        ("spec", {}),
        ("note", 3),
    ],
)
def test_a_digest_of_another_form_is_refused(checkout, field, value):
    path = checkout.workspace().digests / "own.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(UserError, match=f"own.json: {field}"):
        checkout.workspace().datasets.get("own")


@pytest.mark.parametrize(
    ("field", "value"), [("shared", "nothing"), ("note", "all is well"), ("counts", None)]
)
def test_a_digest_that_says_other_things_of_the_same_arrays_is_named(checkout, field, value):
    path = checkout.workspace().digests / "own.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {field: value or found["counts"] | {"test": 99}}))
    assert "not the copy of the committed digest" in checkout.workspace().datasets.note("own")


COUNTED = OWN | {"data": {"student": {"name": "own", "train_examples": [2, 4]}}}


def test_counts_of_examples_have_equal_keys_with_and_without_the_data(checkout):
    here = checkout.plan(COUNTED)
    leave(checkout)
    assert keys(checkout.plan(COUNTED)) == keys(here)
    assert len(keys(here)) == 2


def test_a_copy_with_fewer_examples_than_are_asked_for_leaves_the_cells_missing(checkout):
    manifest = checkout.root / "benchmarks" / "data" / "own.yaml"
    published = {"train": 1000, "val": 0, "test": 8}
    more = {"published": published, "class_count": 2}
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | more))
    fetch(checkout, checkout.root.parent / "source")
    asked = {"student": {"name": "own", "train_examples": [4, 900]}}
    plan = checkout.plan(COUNTED | {"data": asked})
    few, many = plan.cells.values()
    assert few.reason is None
    assert many.status == "missing"
    assert "900 training examples are asked for, and this copy has 16" in many.reason
