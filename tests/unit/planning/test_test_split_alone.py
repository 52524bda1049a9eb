"""Data with a test split alone: enough for victims with weights, and a rule for all that trains."""

import pytest

from harness.datasets import read
from tests.support.module_sources import VICTIM
from tests.support.own_data import class_folders, describe
from tests.support.sources import write_folder
from tests.support.workspaces import Checkout, matrix

IMPORT = """
    def import_weights(self, path):
        raise AssertionError("nothing is imported here")
"""
FEW = {"examples": 4, "batch": 4}
STORED = {"name": "stored", "weights": "old"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    root = tmp_path_factory.mktemp("alone")
    made = Checkout(root / "checkout")
    made.module(
        "victim", "stored", VICTIM + IMPORT, hooks=["build", "recipe", "import_weights"],
        offers=["loss"], entry="victim.py:Tiny",
        params={"steps": {"type": "int", "default": 30, "min": 1}},
        weights={"old": {"file": "old.safetensors", "sha256": "0" * 64, "license": "MIT",
                         "source": "https://example.org/old.safetensors"}},
    )  # fmt: skip
    manifest = describe(made.root / "benchmarks" / "data", picture={"channels": 1, "size": 8})
    source = write_folder(root / "source", class_folders({"test": 4}))
    read.fetch(manifest, made.workspace().data, source)
    return made


def reasons(checkout, **changes):
    plan = checkout.plan(matrix(data={"student": "own"}, eval_subset=FEW, **changes))
    return {(cell.info.victim, cell.info.defense): cell.reason for cell in plan.cells.values()}


def test_weights_are_enough(checkout):
    assert reasons(checkout, victims=[STORED]) == {("stored/old", "none"): None}


def test_weights_that_no_entry_names_are_named(checkout):
    (reason,) = reasons(checkout, victims=["stored"]).values()
    said = "victim stored is trained, as no entry names its weights (old)"
    assert reason == f"own has no training examples, and {said}"


def test_what_trains_is_excluded(checkout):
    found = reasons(checkout, victims=[STORED, "tiny"], defenses=["none", "trainer"])
    lacks = "own has no training examples, and"
    assert found == {
        ("stored/old", "none"): None,
        ("stored/old", "trainer"): f"{lacks} defence trainer trains",
        ("tiny", "none"): f"{lacks} victim tiny is trained",
        ("tiny", "trainer"): f"{lacks} victim tiny is trained",
    }
