"""The file of a data set: each mistake is one line with its place."""

import json
import time

import pytest

from harness.common.errors import UserError, UserErrors
from harness.config.dataset import dataset_schema, load_dataset
from tests.support.own_data import CARD, describe


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"layouts": [{"class_folder": {}}]}, "layouts[0].class_folder", "class_folders"),
        ({"layouts": [{"class_folders": {}, "torchvision": {"class": "CIFAR10"}}]},
         "layouts[0]", "one layout"),
        ({"layouts": [{}]}, "layouts[0]", "found none"),
        ({"layouts": [{"class_folders": {"files": ["../{class}/{name}"]}}]},
         "layouts[0].class_folders.files[0]", "below the source"),
        ({"layouts": [{"class_folders": {"files": ["{class/{name}"]}}]},
         "layouts[0].class_folders.files[0]", "fields in braces"),
        ({"task": "segmentation"}, "layouts[0]", "is for classification"),
        ({"task": "ranking"}, "compare", "add compare"),
        ({"picture": {"size": 0}}, "picture.size", "1 to 4096"),
        ({"picture": {"size": [28, 28, 28]}}, "picture.size", "one side, or [width, height]"),
        ({"picture": {"channels": 4}}, "picture.channels", "one of 1 or 3"),
        ({"classes": ["a", "a"]}, "classes", "duplicate entry"),
        ({"classes": ["a", "a "]}, "classes", "duplicate entry"),
        ({"classes": ["a", ""]}, "classes[1]", "expected one line"),
        ({"splits": {"val": 0.5, "test": 0.5}}, "splits", "nothing to train on"),
        ({"splits": {"val": 1.5}}, "splits.val", "a share below 1"),
        ({"title": None}, "title", "missing"),
        ({"schema": "dataset/2"}, "schema", "newer"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(changes, place, words, tmp_path):
    with pytest.raises(UserErrors) as caught:
        describe(tmp_path, **changes)
    (line,) = str(caught.value).splitlines()
    assert f": {place}:" in line, line
    assert words in line, line


def test_the_name_is_the_files(tmp_path):
    (tmp_path / "other.yaml").write_text(json.dumps(CARD))
    with pytest.raises(UserErrors, match="rename one of them"):
        load_dataset(tmp_path / "other.yaml")
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "dataset.yaml").write_text(json.dumps(CARD))
    assert load_dataset(folder).name == "own"


def test_every_key_is_described():
    def walk(schema, path):
        for name, value in schema.get("properties", {}).items():
            assert value.get("description"), f"{path}.{name}"
        for name, value in schema.get("$defs", {}).items():
            walk(value, name)

    walk(dataset_schema(), "dataset")


def test_many_classes_are_read_in_no_time(tmp_path):
    begun = time.perf_counter()
    described = describe(tmp_path, classes=[f"c{number}" for number in range(50_000)])
    assert len(described.classes) == 50_000
    assert time.perf_counter() - begun < 20  # with one comparison for each pair, minutes


def test_the_home_of_nobody_is_a_folder_that_is_not_there(tmp_path):
    folder = describe(tmp_path, folder="~nobody-of-this-name/data").source_folder()
    assert folder == tmp_path / "~nobody-of-this-name" / "data"


def test_a_link_is_not_read(tmp_path):
    (tmp_path / "secret").write_text("password: hunter2\n")
    (tmp_path / "own.yaml").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="is a link to") as caught:
        load_dataset(tmp_path / "own.yaml")
    assert "password" not in str(caught.value)
