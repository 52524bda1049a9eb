"""Plans of attacks that look for the nearest wrong input: one stage for all radii of its norm."""

import pytest

from tests.support.module_sources import SIGN
from tests.support.workspaces import QUERY, Checkout, cell, matrix

NEAREST = {"norm": "l2", "minimal": True}
BUDGETS = [{"norm": "l2", "eps": 0.5}, {"norm": "l2", "eps": 1}, NEAREST]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("plan"))
    near = {"needs": ["loss"], "requires": [{"limits": ["minimal_l2"]}]}
    checkout.module("attack", "near", SIGN, **near)
    checkout.module("attack", "either", SIGN, needs=["loss"],
                    requires=[{"limits": ["l2", "minimal_l2"]}])  # fmt: skip
    query = {"threat_models": ["evasion-query"], "requires": [{"limits": ["minimal_linf"]}]}
    checkout.module("attack", "labels", SIGN, **query)
    return checkout


def cells(plan, attack):
    return {c.info.budget_label: c for c in plan.cells.values() if c.info.attack == attack}


def test_one_stage_serves_all_radii(checkout):
    found = cells(checkout.plan(matrix(attacks=["near"], budgets=BUDGETS)), "near")
    assert list(found) == ["L2 0.5", "L2 1", "nearest in L2"]
    assert all(one.minimal and one.reason is None for one in found.values())
    assert len({one.stages["attack"] for one in found.values()}) == 1
    assert len({one.key for one in found.values()}) == 3


def test_the_stage_is_told_no_radius(checkout):
    plan = checkout.plan(matrix(attacks=["near"], budgets=BUDGETS[:1]))
    stage = plan.graph.stages[cell(plan, attack="near").stages["attack"]]
    assert stage.recipe.budget == {"norm": "l2", "minimal": True}
    assert cell(plan, attack="near").info.budget == {"norm": "l2", "eps": 0.5}


def test_queries_are_told(checkout):
    budget = {"norm": "linf", "eps": 0.1, "queries": 7, "answers": "labels"}
    plan = checkout.plan(matrix(**QUERY | {"attacks": ["labels"], "budgets": [budget]}))
    stage = plan.graph.stages[cell(plan, attack="labels").stages["attack"]]
    asked = {"norm": "linf", "queries": 7, "answers": "labels", "minimal": True}
    assert stage.recipe.budget == asked


def test_an_attack_that_keeps_a_radius_gets_it(checkout):
    found = cells(checkout.plan(matrix(attacks=["either"], budgets=BUDGETS)), "either")
    assert [one.minimal for one in found.values()] == [False, False, True]
    assert len({one.stages["attack"] for one in found.values()}) == 3


@pytest.mark.parametrize(
    ("attack", "budget", "reason"),
    [
        ("sign", NEAREST, "the budget has minimal: true with norm: l2, and attack sign keeps only"),
        ("near", {"norm": "linf", "eps": 0.1}, "the budget has norm: linf, and attack near keeps"),
        ("near", {"norm": "linf", "minimal": True}, "the budget has minimal: true with norm: linf"),
        ("near", {"norm": "l2", "eps": 1, "patch": 2}, "the budget has patch, and attack near"),
        ("near", {"unbounded": True}, "the budget has unbounded, and attack near keeps only"),
    ],
)
def test_others_are_not_applicable(checkout, attack, budget, reason):
    found = cell(checkout.plan(matrix(attacks=[attack], budgets=[budget])), attack=attack)
    assert (found.status, found.reason[: len(reason)]) == ("not_applicable", reason)


def test_no_order_and_no_other_defence_gets_its_inputs(checkout):
    order = {"ensembles": {"chain": {"hand_over": ["sign", "near"]}}}
    plan = checkout.plan(
        matrix(
            attacks=["near", "sign"],
            defenses=["none", "guard"],
            borrow="all",
            budgets=BUDGETS,
            **order,
        )
    )
    chain = cells(plan, "chain")["L2 0.5"]
    assert "nearest wrong input" in chain.left_out["near"]
    borrowed = {c.info.attack for c in plan.cells.values() if c.info.made_against}
    assert {one.partition("@")[0] for one in borrowed} == {"sign", "chain", "shrunk", "strongest"}
    lenders = {key for c in plan.cells.values() if c.info.made_against for key in c.stages.values()}
    assert cells(plan, "near")["L2 1"].stages["attack"] not in {
        one.key for key in lenders for one in plan.graph.stages[key].inputs.values()
    }


def test_training_has_a_radius(checkout):
    radius = {"norm": "l2", "eps": 0.5}
    for budget, reason in ((radius, "attack near gets no radius, and the training has norm: l2"),
                           (NEAREST, None)):  # fmt: skip
        trainer = {"name": "trainer", "adversary": {"attack": "near", "budget": budget}}
        plan = checkout.plan(matrix(defenses=[trainer]))
        assert cell(plan, attack="noop").reason == reason


def test_a_matrix_is_not_thin_for_want_of_attacks_on_distances(checkout):
    thin = [
        checkout.plan(matrix(attacks=["sign", "noop"], budgets=budgets)).thin
        for budgets in ([BUDGETS[0]], [BUDGETS[0], NEAREST])
    ]
    assert thin[0] == thin[1]


def test_maps_are_not_of_inputs_beyond_a_radius(checkout):
    kept = {"keep": {"examples": 4, "attention": True}}
    plan = checkout.plan(matrix(attacks=["near", "sign"], budgets=BUDGETS, **kept))
    planned = {budget: "maps_after" in one.stages for budget, one in cells(plan, "near").items()}
    assert planned == {"L2 0.5": False, "L2 1": False, "nearest in L2": True}
    assert "maps_after" in cells(plan, "sign")["L2 1"].stages
