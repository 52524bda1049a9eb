"""The second control of a supply chain: a student of what an attack's clean form delivers."""

import pytest

from tests.support.module_sources import TEACHER
from tests.support.workspaces import SUPPLY_CHAIN, Checkout, kinds, matrix


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("plan"))


def test_a_clean_form_is_a_second_control_of_a_supply_chain(checkout):
    share = {"poison_share": {"type": "float", "default": 0.2, "min": 0, "max": 1}}
    checkout.module("attack", "planter", TEACHER, hooks=["deliver", "trigger"], params=share,
                    threat_models=["supply-chain"], clean_form={"poison_share": 0})  # fmt: skip
    plan = checkout.plan(matrix(**SUPPLY_CHAIN | {"attacks": ["planter"], "defenses": ["trainer"]}))
    (only,) = plan.cells.values()
    stages, networks, teachers = plan.graph.stages, {}, {}
    for role in ("after", "control_after", "clean_form_after"):
        predicted = stages[only.stages[role]]
        assert predicted.inputs["x"].key == only.stages["attack"]
        networks[role] = stages[predicted.inputs["weights"].key]
        teachers[role] = stages[networks[role].inputs["start"].key]
    assert {role: one.kind for role, one in teachers.items()} == {
        "after": "deliver", "control_after": "public", "clean_form_after": "deliver",
    }  # fmt: skip
    shares = [teachers[r].modules["attack"].params for r in ("after", "clean_form_after")]
    assert shares == [{"poison_share": 0.2}, {"poison_share": 0.0}]
    assert all("defense" in network.modules for network in networks.values())
    clean = stages[only.stages["clean_form_before"]]
    assert clean.inputs["weights"] == stages[only.stages["clean_form_after"]].inputs["weights"]
    assert clean.inputs["x"].key == only.stages["slice"]
    # its failure is none of the attack's own
    assert teachers["after"].key in only.own
    assert teachers["clean_form_after"].key not in only.own
    assert kinds(plan)["deliver"] == 2
    assert kinds(plan)["train"] == 3


def test_without_a_clean_form_there_is_one_control(checkout):
    (only,) = checkout.plan(matrix(**SUPPLY_CHAIN)).cells.values()
    assert "control_after" in only.stages
    assert not any(role.startswith("clean_form") for role in only.stages)
