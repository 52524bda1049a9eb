"""Stages that teachers are judged by: which there are, what they read, and why some are absent."""

from dataclasses import replace
from unittest.mock import patch

import pytest

from harness.datasets import Datasets
from tests.support.workspaces import (
    BACKDOOR,
    POISONING,
    SUPPLY_CHAIN,
    Checkout,
    cell,
    kinds,
    matrix,
)

HALVES = {"public": "digits-0-4", "student": "digits-5-9"}
PUBLIC_BACKDOOR = BACKDOOR | {"data": HALVES, "poisons": "public"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("checkout"))


def stages(plan, only, *roles):
    return {role: plan.graph.stages[only.stages[role]] for role in roles}


@pytest.mark.parametrize("setting", [SUPPLY_CHAIN, PUBLIC_BACKDOOR], ids=["delivered", "poisoned"])
def test_a_teacher_and_its_control_answer_the_test_examples_of_their_own_data(checkout, setting):
    plan = checkout.plan(matrix(**setting))
    (only,) = plan.cells.values()
    roles = [f"{c}teacher_{w}" for c in ("", "control_") for w in ("before", "after")]
    found = stages(plan, only, *roles)
    (data,) = {s.inputs["spec"].key for s in found.values()}
    assert plan.graph.stages[data].recipe.name == "digits-0-4"
    assert all(set(s.modules) == {"victim"} for s in found.values())  # no defence takes part
    weights = {role: s.inputs["weights"].key for role, s in found.items()}
    assert weights["teacher_before"] == weights["teacher_after"] == only.stages["teacher"]
    assert weights["control_teacher_before"] == weights["control_teacher_after"]
    teacher, control = (
        [s.kind for s in plan.graph.ancestors([weights[f"{c}teacher_before"]]).values()]
        for c in ("", "control_")
    )
    assert {"deliver", "poison"} & set(teacher)
    assert not {"deliver", "poison"} & set(control)
    trigger = plan.graph.stages[only.stages["teacher_attack"]]
    assert trigger.inputs["spec"].key == data
    assert trigger.inputs["state"] == plan.graph.stages[only.stages["attack"]].inputs["state"]
    assert only.stages["teacher_attack"] in only.own
    assert only.absent == {}


def test_all_defences_share_the_stages_of_a_teacher(checkout):
    one = kinds(checkout.plan(matrix(**SUPPLY_CHAIN)))
    plan = checkout.plan(matrix(**SUPPLY_CHAIN, defenses=["none", "guard", "trainer"]))
    assert kinds(plan)["attack"] == one["attack"] == 2
    teachers = {
        tuple(sorted((role, key) for role, key in c.stages.items() if "teacher" in role))
        for c in plan.cells.values()
    }
    assert len(teachers) == 1


def test_on_the_students_own_data_attacked_inputs_are_those_of_the_student(checkout):
    data = {"public": "digits", "student": "digits"}
    plan = checkout.plan(matrix(**SUPPLY_CHAIN | {"data": data}))
    (only,) = plan.cells.values()
    for part in ("slice", "goal", "attack", "measure"):
        assert only.stages[f"teacher_{part}"] == only.stages[part]


def test_a_public_network_with_other_classes_is_no_control(checkout):
    data = HALVES | {"attacker": "digits-5-9"}
    plan = checkout.plan(matrix(**SUPPLY_CHAIN | {"data": data}))
    (only,) = plan.cells.values()
    assert {"teacher_before", "teacher_after"} <= only.stages.keys()
    assert not [role for role in only.stages if role.startswith("control_teacher")]
    why = "the public network is not trained on the classes of digits-5-9"
    assert only.absent == {
        "control_teacher_accuracy": why,
        "control_teacher_success_rate": why,
    }


def test_an_attack_without_a_trigger_has_the_accuracy_of_its_teacher(checkout):
    plan = checkout.plan(matrix(**POISONING | {"data": HALVES, "poisons": "public"}))
    (only,) = plan.cells.values()
    assert {"teacher_before", "control_teacher_before"} <= only.stages.keys()
    why = "the attack puts no trigger into test inputs"
    assert only.absent == {"teacher_success_rate": why, "control_teacher_success_rate": why}


def test_fewer_test_examples_than_the_students_are_all_used_and_none_is_said(checkout):
    own = Datasets.get

    def plan_with(test):
        def get(self, name):
            found = own(self, name)
            if name == "digits-0-4":
                found = replace(found, facts=replace(found.facts, test=test))
            return found

        with patch.object(Datasets, "get", get):
            plan = checkout.plan(matrix(**SUPPLY_CHAIN))
        return plan, cell(plan, attack="teacher")

    plan, few = plan_with(7)
    assert plan.graph.stages[few.stages["teacher_slice"]].recipe.examples == 7
    assert plan.graph.stages[few.stages["slice"]].recipe.examples > 7
    _, none = plan_with(0)
    assert {role for role in none.stages if "teacher" in role} == {"teacher"}
    assert len(none.absent) == 4
    assert set(none.absent.values()) == {"digits-0-4 has no test examples"}


def test_where_no_attack_made_the_public_network_there_is_no_teacher(checkout):
    for setting in (BACKDOOR, BACKDOOR | {"data": HALVES}, POISONING):
        plan = checkout.plan(matrix(**setting))
        (only,) = plan.cells.values()
        assert not [role for role in only.stages if "teacher" in role]
        assert only.absent == {}
