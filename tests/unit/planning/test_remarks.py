"""What modules say of themselves on data with few classes, and the most classes that they take."""

import shutil

import pytest

from harness.common.errors import UserError
from harness.config.manifest_file import load_manifest
from tests.support.module_sources import SIGN
from tests.support.workspaces import Checkout, cell, matrix

TEXT = "the ratio is constant, so that the margin rises"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("plan"))
    params = {"loss": {"type": "str", "default": "ce", "choices": ["ce", "dlr"], "help": "loss"}}
    for classes in (9, 10):
        remarks = [{"when": {"loss": ["dlr"]}, "classes_max": classes, "text": TEXT}]
        fields = {"params": params, "needs": ["loss"], "remarks": remarks}
        checkout.module("attack", f"to-{classes}", SIGN, **fields)
        requires = [{"classes_max": classes}]
        checkout.module("defense", f"most-{classes}", "", hooks=["build"], requires=requires)
    return checkout


@pytest.mark.parametrize(
    ("name", "loss", "said"),
    [("to-10", "dlr", (TEXT,)), ("to-10", "ce", ()), ("to-9", "dlr", ())],
)
def test_a_remark_holds_for_its_parameters_and_up_to_its_classes(checkout, name, loss, said):
    entry = {"name": name, "params": {"loss": loss}, "as": "it"}
    plan = checkout.plan(matrix(attacks=[entry], ensembles={"chain": {"hand_over": [entry]}}))
    assert cell(plan, attack="it").remarks == said
    assert cell(plan, attack="chain").remarks == said


def test_more_classes_than_a_defence_has_are_refused_in_the_plan(checkout):
    plan = checkout.plan(matrix(defenses=["none", "most-9", "most-10"]))
    found = cell(plan, defense="most-9")
    assert found.status == "not_applicable"
    assert found.reason == "the number of classes is 10, and defence most-9 has at most 9"
    assert cell(plan, defense="most-10").reason is None


def test_a_remark_names_a_parameter_that_there_is(checkout):
    remarks = [{"when": {"los": ["dlr"]}, "classes_max": 2, "text": TEXT}]
    folder = checkout.module("attack", "wrong", SIGN, needs=["loss"], remarks=remarks)
    with pytest.raises(UserError) as caught:
        load_manifest(folder)
    assert "remarks[0].when.los: attacks/wrong has no parameter" in str(caught.value)
    shutil.rmtree(folder)
