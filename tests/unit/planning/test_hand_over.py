"""Plans of ensembles whose attacks are handed what still stands."""

import pytest

from tests.support.module_sources import SIGN
from tests.support.workspaces import QUERY, TRANSFER, Checkout, cell, kinds, matrix

CHAIN = {"attacks": ["noop"], "ensembles": {"chain": {"hand_over": ["sign", "noop", "blind"]}}}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("plan"))
    checkout.module("attack", "blind", "", no_model_access=True)
    checkout.module("attack", "whole", SIGN, needs=["loss"], batch_dependent=True)
    return checkout


def stages(plan, label="chain", **labels):
    found = cell(plan, attack=label, **labels).stages
    return {role: plan.graph.stages[key] for role, key in found.items()}


def test_each_attack_but_the_first_gets_what_the_one_before_it_left(checkout):
    plan = checkout.plan(matrix(**CHAIN))
    found = stages(plan)
    assert list(cell(plan, attack="chain").handed) == ["sign", "noop", "blind"]
    for number in (2, 3):
        chosen, attack = found[f"survivors_{number}"], found[f"attack_{number}"]
        assert {one.part for one in attack.inputs.values() if one.key == chosen.key} == (
            {"x", "y", "rows"} if number == 2 else {"x", "rows"}
        )
        assert chosen.inputs["after"].key == found[f"after_{number - 1}"].key
        predicted = found[f"after_{number - 1}"].inputs["x"]
        assert predicted == (found[f"attack_{number - 1}"].key, "attacked")
    assert found["attack"].kind == "merge"
    assert found["measure"].inputs["attacked"] == (found["attack"].key, "attacked")
    assert found["after"].inputs["x"] == (found["attack"].key, "attacked")


def test_the_first_attack_is_that_of_its_own_cell(checkout):
    chain = {**CHAIN, "attacks": ["noop", "sign"]}
    plan = checkout.plan(matrix(**chain))
    found = stages(plan)
    assert found["attack_1"] == stages(plan, "sign")["attack"]
    assert found["after_1"] == stages(plan, "sign")["after"]
    assert kinds(plan)["attack"] == 4  # noop, sign, and two that are handed a part


def test_only_an_ensemble_plans_all_that_it_reads(checkout):
    whole = checkout.plan(matrix(**CHAIN))
    part = checkout.plan(only={"attack": {"chain"}})
    assert [c.info.attack for c in part.cells.values()] == ["chain"]
    assert cell(part, attack="chain") == cell(whole, attack="chain")


def test_an_order_is_part_of_the_key(checkout):
    turned = {"ensembles": {"chain": {"hand_over": ["noop", "sign", "blind"]}}}
    keys = {cell(checkout.plan(matrix(**(CHAIN | x))), attack="chain").key for x in ({}, turned)}
    assert len(keys) == 2


def test_targets_and_queries_are_handed_over_with_their_rows(checkout):
    plan = checkout.plan(matrix(**CHAIN, goal={"targeted": "next"}))
    found = stages(plan)
    assert found["attack_2"].inputs["goal"] == (found["survivors_2"].key, "goal")
    assert found["survivors_3"].inputs["goal"].key == found["goal"].key
    query = {"ensembles": {"chain": {"hand_over": ["ask", {"name": "ask", "as": "again"}]}}}
    found = stages(checkout.plan(matrix(**QUERY, **query)))
    assert found["attack_2"].inputs["spent"] == (found["survivors_2"].key, "spent")
    assert found["survivors_2"].inputs["asked"] == (found["attack_1"].key, "oracle")


def test_attacks_that_cannot_be_handed_a_part_are_left_out_and_named(checkout):
    chain = {"ensembles": {"chain": {"hand_over": ["sign", "whole", "ask"]}}}
    found = cell(checkout.plan(matrix(**chain)), attack="chain")
    assert found.handed == {"sign": "sign"}
    assert set(found.left_out) == {"whole", "ask"}
    assert "a batch as a whole" in found.left_out["whole"]
    assert found.params.keys() == {"victim", "defense", "attack_1"}
    chain = {"ensembles": {"chain": {"hand_over": ["whole"]}}}
    found = cell(checkout.plan(matrix(**chain)), attack="chain")
    assert found.status == "not_applicable"
    assert found.reason.startswith("none of its attacks can be played; whole: ")


def test_an_attack_with_the_label_of_another_one_keeps_its_own_parameters(checkout):
    params = {"params": {"steps": {"type": "int", "default": 1, "help": "steps"}}}
    checkout.module("attack", "stepping", SIGN, needs=["loss"], **params)
    chain = {"hand_over": [{"name": "stepping", "params": {"steps": 7}}]}
    plan = checkout.plan(matrix(attacks=["stepping"], ensembles={"chain": chain}))
    assert cell(plan, attack="stepping").params["attack"] == {"steps": 1}
    assert cell(plan, attack="chain").reason is None
    assert cell(plan, attack="chain").params["attack_1"] == {"steps": 7}


def test_its_inputs_are_lent_and_count_for_the_floor(checkout):
    chain = {"ensembles": {"chain": {"hand_over": ["sign", "blind"]}}, "attacks": ["noop"]}
    plan = checkout.plan(matrix(**chain, defenses=["none", "guard"], borrow="all"))
    lent = {(c.info.defense, c.info.attack) for c in plan.cells.values() if c.info.made_against}
    assert ("guard", "chain@none") in lent
    assert ("none", "shrunk@itself") in lent
    assert "second family of attacks" not in plan.thin.get("m", ())


def test_transfer_attacks_are_handed_over_too(checkout):
    checkout.module("attack", "moved", SIGN, needs=["loss"], threat_models=["evasion-transfer"])
    chain = {"ensembles": {"chain": {"hand_over": ["moved", {"name": "moved", "as": "again"}]}}}
    found = stages(checkout.plan(matrix(**{**TRANSFER, "attacks": ["moved"]}, **chain)))
    assert "spent" not in found["attack_2"].inputs
    assert found["attack_2"].inputs["rows"] == (found["survivors_2"].key, "rows")


def test_labels_and_what_is_left_out_are_in_the_key(checkout):
    entries = (["sign", "noop"], ["sign", {"name": "noop", "as": "it"}], ["sign", "noop", "whole"])
    plans = [
        checkout.plan(matrix(attacks=["noop"], ensembles={"chain": {"hand_over": one}}))
        for one in entries
    ]
    assert len({cell(plan, attack="chain").key for plan in plans}) == 3
    assert len({frozenset(plan.graph.stages) for plan in plans}) == 1


def test_a_control_or_an_attack_of_whole_batches_is_not_of_the_floor(checkout):
    chain = {"attacks": ["sign"], "ensembles": {"chain": {"hand_over": ["noop", "whole"]}}}
    assert "control" in checkout.plan(matrix(**chain)).thin["m"]
