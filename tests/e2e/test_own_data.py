"""Data of one's own: a folder of pictures, a manifest beside a benchmark, a run, the report."""

import re
import shutil

import pytest

from tests.support.own_data import class_folders
from tests.support.sources import write_folder
from tests.support.workspaces import Checkout, matrix

SHARED = re.compile("1 test picture is also in (train|val)")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return a checkout and the folder beside it whose benchmark was run, and what was said."""
    root = tmp_path_factory.mktemp("own")
    checkout = Checkout(root / "checkout")
    mine = root / "mine"
    files = class_folders({"train": 30, "test": 10}, ("cat", "dog", "owl"))
    files["test/cat/again.png"] = files["train/cat/000.png"]
    write_folder(mine / "pictures", files)
    checkout.benchmark(
        matrix(
            data={"student": "./squares.yaml"},
            eval_subset={"examples": 20, "batch": 10},
        )
    )
    shutil.move(checkout.root / "benchmarks" / "b", mine / "b")
    text = (mine / "b" / "benchmark.yaml").read_text()
    (mine / "b" / "benchmark.yaml").write_text(text.replace("./squares", "../squares"))
    said = {}
    for name, arguments in {
        "new": ("new", "dataset", "squares", "--from", "../mine/pictures",
                "--out", "../mine/squares.yaml"),
        "check": ("check", "../mine/squares.yaml"),
        "run": ("run", "../mine/b"),
        "plan": ("plan", "../mine/b"),
        "show": ("show", "b/m"),
    }.items():  # fmt: skip
        done = checkout.gauntlet(*arguments)
        assert done.returncode == 0, (name, done.stdout, done.stderr)
        said[name] = done.stdout
    return checkout, mine, said


def test_the_manifest_lies_outside_the_checkout(ran):
    checkout, mine, said = ran
    assert "folder: pictures" in (mine / "squares.yaml").read_text()
    assert not (checkout.root / "benchmarks" / "data").exists()
    assert "splits: train, test; a tenth for validation is cut from train" in said["new"]


def test_check_says_what_is_in_training_and_test(ran):
    _, _, said = ran
    assert "squares: 81 train, 9 validation, 31 test examples; 8x8 grey, 3 classes" in said["check"]
    assert SHARED.search(said["check"])


def test_its_cells_are_run_and_recorded(ran):
    checkout, _, said = ran
    (record,) = checkout.records().values()
    assert (record.status, record.cell.data) == ("ok", {"student": "squares"})
    assert "1 of 1 cells recorded, 0 to do" in said["plan"]
    assert record.id in said["show"]


def test_the_report_of_a_checkout_that_has_both_shows_them(ran):
    checkout, mine, _ = ran
    shutil.copytree(mine / "b", checkout.root / "benchmarks" / "b")
    shutil.copytree(mine / "pictures", checkout.root / "benchmarks" / "pictures")
    shutil.copy(mine / "squares.yaml", checkout.root / "benchmarks" / "squares.yaml")
    done = checkout.gauntlet("report")
    assert done.returncode == 0, done.stderr
    assert "shared examples" in done.stdout
    page = (checkout.root / "reports/site/b/m/index.html").read_text()
    text = re.sub(r"<[^>]+>", "", page)
    assert SHARED.search(text)
    assert "This copy of the data" in text
