"""Existing weights that training starts from are the public network where no public data are."""

import pytest

from harness.common.errors import UserError
from tests.support.errors import raises_error
from tests.support.module_sources import PERTURB, VICTIM
from tests.support.workspaces import SUPPLY_CHAIN, Checkout, cell, kinds, matrix

DATA = "16:4: matrices[0].data"
START = {"name": "stored", "weights": "body"}
TRANSFER = {"threat_model": "evasion-transfer", "victims": [START]}
DELIVERED = SUPPLY_CHAIN | {
    "data": {"attacker": "digits-5-9", "student": "digits-5-9"},
    "victims": [START],
}


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path)
    common = {"license": "MIT", "source": "https://example.org/a", "sha256": "0" * 64}
    made.module(
        "victim", "stored", VICTIM, hooks=["build", "recipe"], entry="victim.py:Tiny",
        offers=["loss", "features", "maps", "gradients", "weights"],
        params={"steps": {"type": "int", "default": 1}},
        weights={"body": common | {"file": "body.npz", "start": True},
                 "whole": common | {"file": "whole.npz"}},
    )  # fmt: skip
    return made


def attack(checkout, name, hooks=("perturb",), **fields):
    threats = {"threat_models": ["evasion-transfer"]}
    checkout.module("attack", name, PERTURB.format("return x"), hooks=list(hooks),
                    **threats | fields)  # fmt: skip
    return name


def test_a_transfer_attack_holds_the_weights_that_the_student_starts_from(checkout):
    name = attack(checkout, "feature", needs=["features", "maps"])
    plan = checkout.plan(matrix(**TRANSFER, attacks=["noop", name]))
    assert {one.status for one in plan.cells.values() if one.reason} == set()
    stages = plan.graph.stages
    only = cell(plan, attack="feature")
    held = stages[only.stages["attack"]]
    assert set(held.inputs) == {"start", "spec", "slice_x", "slice_y"}
    assert stages[held.inputs["start"].key].kind == "import"
    assert stages[only.stages["network"]].inputs["start"] == held.inputs["start"]
    assert "public" not in kinds(plan)


def test_a_delivered_network_starts_from_the_weights(checkout):
    plan = checkout.plan(matrix(**DELIVERED))
    (only,) = plan.cells.values()
    assert only.reason is None
    stages = plan.graph.stages
    begins = {
        role: stages[stages[stages[only.stages[role]].inputs["weights"].key].inputs["start"].key]
        for role in ("after", "control_after")
    }
    assert {role: stage.kind for role, stage in begins.items()} == {
        "after": "deliver",
        "control_after": "import",
    }
    assert stages[begins["after"].inputs["start"].key] == begins["control_after"]
    trigger = stages[only.stages["attack"]]
    assert trigger.inputs["state"].key == begins["after"].key
    # the delivered network is judged; the weights have no head to judge
    assert stages[only.stages["teacher_before"]].inputs["weights"].key == begins["after"].key
    assert not [role for role in only.stages if role.startswith("control_teacher")]
    assert set(only.absent) == {"control_teacher_accuracy", "control_teacher_success_rate"}
    assert all("last layer is left out" in reason for reason in only.absent.values())


def test_public_data_stay_possible_and_their_training_starts_from_the_weights(checkout):
    data = {"public": "digits-0-4", "student": "digits-5-9"}
    plan = checkout.plan(matrix(**TRANSFER, data=data))
    (only,) = plan.cells.values()
    stages = plan.graph.stages
    public = stages[stages[only.stages["attack"]].inputs["weights"].key]
    assert public.kind == "public"
    assert stages[public.inputs["start"].key].kind == "import"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"needs": ["loss"]}, "needs loss; the public network is existing weights with a new last"),
        ({"needs": ["features", "gradients"]}, "needs gradients; the public network is existing"),
        ({"needs": ["weights"]}, "needs weights; the public network is existing"),
        ({"hooks": ["perturb", "learn"]}, "learns from the public network's training data"),
        ({"hooks": ["perturb", "learn"], "no_model_access": True}, "learns from the public"),
    ],
)
def test_what_needs_more_than_features_and_maps_is_not_applicable(checkout, fields, words):
    name = attack(checkout, "greedy", **fields)
    plan = checkout.plan(matrix(**TRANSFER, attacks=[name]))
    (only,) = plan.cells.values()
    assert only.status == "not_applicable"
    assert words in only.reason


def test_a_surrogate_has_its_head_and_its_data(checkout):
    surrogate = {"knowledge": {"surrogate": "tiny"}}
    plan = checkout.plan(matrix(**TRANSFER | surrogate, attacks=["sign"]))
    (only,) = plan.cells.values()
    assert only.reason is None
    assert "weights" in plan.graph.stages[only.stages["attack"]].inputs


@pytest.mark.parametrize(
    ("code", "changes", "place"),
    [
        ("no-public-network", TRANSFER | {"victims": ["tiny"]}, DATA),
        ("no-start-of-training", TRANSFER | {"victims": [START, "tiny"]},
         "24:5: matrices[0].victims[1]"),
        ("weights-beside-public-ones",
         TRANSFER | {"defenses": ["none", {"name": "none", "weights": "whole"}]},
         "29:6: matrices[0].defenses[1].weights"),
        ("no-attackers-data", DELIVERED | {"data": {"student": "digits"}}, DATA),
        ("edits-of-no-public-data", DELIVERED | {"poisons": "public"}, DATA),
    ],
)  # fmt: skip
def test_a_matrix_without_a_public_network_is_refused(checkout, code, changes, place):
    where = f"<tmp>/benchmarks/b/benchmark.yaml:{place}"
    with raises_error(code, where=where):
        checkout.plan(matrix(**changes))


def test_weights_that_replace_training_are_no_public_network(checkout):
    with pytest.raises(UserError, match="no weights that training starts from"):
        checkout.plan(matrix(**TRANSFER | {"victims": [{"name": "stored", "weights": "whole"}]}))
