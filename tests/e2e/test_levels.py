"""A matrix with several amounts of training data, run from its file to its chart."""

import csv

import numpy as np
import pytest
from rich.console import Console

from harness.commands.report import report
from harness.commands.reproduce import reproduce
from harness.planning.recipe import DataRecipe
from tests.support.workspaces import Checkout, kinds, matrix

LEVELS = {"name": "digits", "train_examples": [30, 200, 1000]}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    found = Checkout(tmp_path_factory.mktemp("levels"))
    found.benchmark(matrix("m", data={"student": LEVELS}), matrix("whole"))
    found.run()
    return found


def ids(checkout, part):
    """Number of training examples → ids of a split, of each data stage."""
    store, found = checkout.workspace().store(), {}
    for key, stage in checkout.plan().graph.stages.items():
        if isinstance(stage.recipe, DataRecipe):
            one = {name: np.load(store.part(key, name) / "ids.npy") for name in ("train", part)}
            found[len(one["train"])] = set(one[part].tolist())
    return found


def test_each_level_trains_on_so_many_examples_and_smaller_ones_are_a_part_of_larger(checkout):
    train = ids(checkout, "train")
    assert sorted(train) == [30, 200, 1000]
    assert train[30] < train[200] < train[1000]
    for part in ("val", "test"):
        few, some, every = ids(checkout, part).values()
        assert few == some == every


def test_the_whole_set_is_the_plain_matrix(checkout):
    assert kinds(checkout.plan())["train"] == 3
    records = {record.cell.matrix: record for record in checkout.records().values()}
    assert records.keys() == {"m@30", "m@200", "m@1000", "whole"}
    assert {record.status for record in records.values()} == {"ok"}
    assert records["m@1000"].outcomes == records["whole"].outcomes
    assert records["m@30"].outcomes != records["whole"].outcomes


def test_a_level_is_reproduced_by_its_name(checkout):
    assert reproduce(checkout.workspace(), "b/m@30/", Console(quiet=True))


def test_the_report_shows_the_chart_with_the_records_figures(checkout):
    site = report(checkout.workspace(), open_=False, console=Console(quiet=True)).parent
    page = (site / "b" / "m~4030" / "index.html").read_text(encoding="utf-8")
    assert "Matrix m, trained on 30 examples" in page
    assert "Amount of training data" in page
    rows = csv.DictReader((site / "b" / "m~4030" / "amounts.csv").read_text().splitlines())
    clean = {
        record.cell.matrix: record.metrics["clean_accuracy"].value
        for record in checkout.records().values()
        if record.cell.matrix != "whole"
    }
    assert {row["matrix"]: float(row["clean"]) for row in rows} == clean
