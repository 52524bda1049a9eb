"""``gauntlet check`` of a data set: its report, what is read again, the whole checkout."""

import io
import os
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from harness.commands import check as command
from harness.commands.clean import measure_folder
from harness.commands.data import fetch
from harness.commands.data_report import MOST, class_table
from harness.common.errors import UserError, UserErrors
from harness.config.dataset import FOLDER
from harness.datasets import read
from tests.support.errors import raises_error
from tests.support.own_data import class_folders, describe
from tests.support.sources import write_folder
from tests.support.workspaces import Checkout, matrix

PICTURE = {"channels": 1, "size": 8}


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / "checkout")


def check(checkout, name=None, source=None) -> str:
    out = io.StringIO()
    console = Console(file=out, width=300)
    path = None if name is None else Path(name)
    command.check(checkout.workspace(), path, "local", console, source)
    return out.getvalue()


def own(checkout, tmp_path, files, **changes):
    describe(checkout.root / FOLDER, picture=PICTURE, **changes)
    return write_folder(tmp_path / "source", files)


def test_the_report_counts_classes_and_splits(checkout, tmp_path):
    files = class_folders({"train": 5, "test": 2})
    del files["test/dog/000.png"], files["test/dog/001.png"]
    files["train/dog/copy.png"] = files["test/cat/001.png"]
    files["odd.png"] = files["train/cat/000.png"]
    source = own(checkout, tmp_path, files)
    assert check(checkout, "own", source).splitlines()[:-2] == [
        "own: 11 train, 2 test examples; 8x8 grey, 2 classes",
        "  class  train   test",
        "  cat        5      2",
        "  dog        6      0",
        "  1 pictures that its layout does not name (odd.png)",
        "  1 test picture is also in train, 1 with another label (test/cat/001.png = "
        "train/dog/copy.png first)",
        "  no test example of dog",
    ]


def test_copies_are_listed_below_their_remark(checkout, tmp_path):
    files = class_folders({"train": 5, "test": 2})
    files["train/dog/copy.png"] = files["test/cat/001.png"]
    files["train/dog/copy2.png"] = files["test/cat/000.png"]
    del files["test/dog/000.png"], files["test/dog/001.png"]
    lines = check(checkout, "own", own(checkout, tmp_path, files)).splitlines()
    place = next(n for n, line in enumerate(lines) if "2 test pictures are also in train" in line)
    assert lines[place + 1] == "    test/cat/001.png = train/dog/copy.png"
    assert lines[place + 2] == "  no test example of dog"


def test_what_is_nothing_to_check(checkout, tmp_path):
    folder = write_folder(tmp_path / "digits", class_folders({"test": 1}))
    with raises_error("check-no-manifest", where=folder):
        check(checkout, folder)
    with raises_error("check-nothing", where="digit"):
        check(checkout, "digit")
    (tmp_path / "victims" / "wong").mkdir(parents=True)
    with raises_error("check-no-such-folder", where=tmp_path / "victims" / "wnog"):
        check(checkout, tmp_path / "victims" / "wnog")


def test_groups_on_both_sides_are_said(checkout, tmp_path):
    files = class_folders({"train": 3, "test": 2})
    layout = {"files": ["{split}/{class}/{who}.png"], "group": "{who}"}
    source = own(checkout, tmp_path, files, layouts=[{"class_folders": layout}])
    assert "2 groups are in train and in test" in check(checkout, "own", source)
    assert checkout.workspace().datasets.shared("own") == "2 groups are in train and in test"


def test_a_matrix_on_such_data_carries_it(checkout, tmp_path):
    files = class_folders({"train": 20, "test": 4})
    files["train/dog/copy.png"] = files["test/cat/001.png"]
    check(checkout, "own", own(checkout, tmp_path, files))
    few = {"examples": 8, "batch": 8}
    plan = checkout.plan(matrix(data={"student": "own"}, eval_subset=few), matrix("n"))
    assert plan.shared == {"m": "1 test picture is also in train"}


def test_what_has_not_changed_is_not_read_again(checkout, tmp_path, monkeypatch):
    source = own(checkout, tmp_path, class_folders({"train": 3, "test": 2}))
    first = check(checkout, "own", source)
    reads = []
    fetch = read.fetch
    monkeypatch.setattr(read, "fetch", lambda *a: (reads.append(1), fetch(*a)))
    assert check(checkout, "own", source) == first
    assert check(checkout, "own") == first  # the folder of the last time
    assert check(checkout, str(checkout.root / FOLDER / "own.yaml")) == first
    assert reads == []
    picture = source / "test/cat/000.png"
    os.utime(picture, ns=(1, 1))
    check(checkout, "own")
    assert len(reads) == 1
    describe(checkout.root / FOLDER, picture=PICTURE, splits={"val": 0.4})
    assert "own: 4 train, 2 validation, 4 test examples" in check(checkout, "own")
    assert len(reads) == 2
    shutil.rmtree(source)
    assert "stored in" in check(checkout, "own")
    assert len(reads) == 2


def test_a_set_without_a_source_says_how_to_give_one(checkout):
    describe(checkout.root / FOLDER, picture=PICTURE)
    with raises_error("data-check-no-source", where="data set own"):
        check(checkout, "own")


def test_the_folder_of_the_manifest_is_read(checkout, tmp_path):
    write_folder(tmp_path / "mine", class_folders({"test": 2}))
    describe(tmp_path, picture=PICTURE, folder="mine")
    report = check(checkout, str(tmp_path / "own.yaml"))
    assert "no training examples: for victims with weights of their own" in report


def test_a_bundled_set_is_known(checkout):
    assert check(checkout, "digits").startswith("digits is bundled: ")


def test_many_classes_are_cut_to_the_smallest():
    names = [f"c{n}" for n in range(MOST + 1)]
    lines = list(class_table(names, {"train": range(MOST + 1, 0, -1)}))
    assert lines[0].split() == ["class", "train"]
    assert lines[1].split() == ["c50", "1"]
    assert lines[-1] == "  and 41 classes with as many or more"


def test_the_whole_checkout_has_no_placeholders(checkout):
    describe(checkout.root / FOLDER, picture=PICTURE)
    assert "1 data sets" in check(checkout)
    with pytest.raises(UserErrors):  # it writes the file, and reads it
        describe(checkout.root / FOLDER, picture=PICTURE, task="ranking")
    with pytest.raises(UserErrors, match=r"own\.yaml:.*ranking needs comparisons"):
        check(checkout)
    describe(checkout.root / FOLDER, picture=PICTURE, license="TODO: terms of the data")
    where = f"{checkout.root}/{FOLDER}/own.yaml:1:79: license"
    with raises_error("data-card-placeholder", where=where):
        check(checkout)


def test_a_line_end_in_a_name_begins_no_line_of_its_own(checkout, tmp_path):
    describe(checkout.root / "benchmarks" / "data", picture=PICTURE)
    odd = {"train/cat/x\nown: every check passed.png": b"text"}
    source = write_folder(tmp_path / "source", class_folders({"train": 2, "test": 1}) | odd)
    with pytest.raises(UserError) as caught:
        check(checkout, "own", source)
    assert "\n" not in str(caught.value)


def test_files_of_two_names_are_counted_once(tmp_path):
    (tmp_path / "one").write_bytes(b"x" * 100)
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    assert measure_folder(tmp_path) == 100


def test_a_set_is_fetched_by_the_path_of_its_file(checkout, tmp_path):
    own = tmp_path / "elsewhere"
    describe(own, picture=PICTURE)
    source = write_folder(tmp_path / "source", class_folders({"train": 2, "test": 1}))
    fetch(checkout.workspace(), str(own / "own.yaml"), source, Console(quiet=True))
    assert (checkout.workspace().data / "own" / "manifest.json").is_file()
