"""Plans of mistaken benchmarks, and plans of a part of one."""

import re

import pytest

from harness.common.errors import UserErrors
from tests.support.errors import raises_error
from tests.support.module_sources import GUARD, TRAINER
from tests.support.workspaces import POISONING, QUERY, TRANSFER, Checkout, cell, matrix


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("plan"))


# -- mistakes ---------------------------------------------------------------------------------


def test_every_unknown_name_is_reported_at_once_with_its_place(checkout):
    checkout.benchmark(
        matrix(
            "first",
            victims=["tinny"],
            defenses=["none", {"name": "guard", "variant": "strong"}],
            attacks=["sing", {"name": "noop", "params": {"steps": 3}}],
            data={"student": "digit"},
        ),
        matrix(
            "second",
            victims=[{"name": "tiny", "params": {"steps": "many"}}],
            knowledge={"surrogate": "tiney"},
            **{k: v for k, v in TRANSFER.items() if k != "knowledge"},
        ),
    )
    with pytest.raises(UserErrors) as caught:
        checkout.plan()
    lines = str(caught.value).splitlines()
    assert len(lines) == 7
    for line in lines:
        assert re.match(r".*/benchmarks/b/benchmark\.yaml:\d+:\d+: matrices\[[01]\]\.", line), line
    for text in (
        "no victim named 'tinny'",
        'did you mean "tiny"?',
        "defenses/guard has no variant",
        "no attack named 'sing'",
        'attacks/noop has no parameter "steps"',
        "there is no data set of this name",
        "expected a whole number",
        "no victim named 'tiney'",
    ):
        assert any(text in line for line in lines), text


def test_the_place_of_an_unknown_module_is_said_once(checkout):
    checkout.benchmark(matrix(attacks=["sing"]))
    with raises_error(
        "unknown-attack", where="<tmp>/benchmarks/b/benchmark.yaml:26:5: matrices[0].attacks[0]"
    ):
        checkout.plan()


def test_an_unknown_adversary_is_reported(checkout):
    adversary = {"attack": "sgin", "budget": {"norm": "linf", "eps": 0.1}}
    with raises_error(
        "unknown-adversary", where="<tmp>/benchmarks/b/benchmark.yaml:23:5: matrices[0].defenses[0]"
    ):
        checkout.plan(matrix(defenses=[{"name": "trainer", "adversary": adversary}]))


def test_budgets_that_would_share_an_id_are_refused(checkout):
    budgets = [
        {"edits": 0.2, "labels": True},
        {"edits": 0.2, "labels": True, "features": False},
    ]
    with raises_error(
        "budgets-of-one-id", where="<tmp>/benchmarks/b/benchmark.yaml:33:5: matrices[0].budgets[1]"
    ):
        checkout.plan(matrix(**POISONING | {"budgets": budgets}))


# -- choosing ---------------------------------------------------------------------------------


def test_only_plans_the_chosen_cells_with_the_keys_of_the_whole_plan(checkout):
    whole = checkout.plan(
        matrix("one", attacks=["noop", "sign"], seeds=[0, 1]), matrix("two", attacks=["sign"])
    )
    for only, count in (
        ({"attack": {"sign"}}, 3),
        ({"attack": {"sign"}, "seed": {"1"}}, 1),
        ({"attack": {"sign", "noop"}, "matrix": {"one"}}, 4),
        ({"matrix": {"one"}}, 4),
    ):
        part = checkout.plan(only=only)
        assert len(part.cells) == count
        assert all(whole.cells[name].key == c.key for name, c in part.cells.items())
        assert part.graph.stages.keys() <= whole.graph.stages.keys()


@pytest.mark.parametrize("labels", [{"pgd"}, {"noop", "pgd"}])
def test_only_that_fits_nothing_is_told(checkout, labels):
    checkout.benchmark(matrix())
    with raises_error("only-without-cell", where="--only attack=pgd"):
        checkout.plan(only={"attack": labels})


def test_an_ensemble_is_derived_from_its_members_and_has_no_stage(checkout):
    plan = checkout.plan(matrix(attacks=["noop", "sign"], ensembles={"both": ["noop", "sign"]}))
    both = cell(plan, attack="both")
    assert not both.stages
    assert both.members == (cell(plan, attack="noop").id, cell(plan, attack="sign").id)


def test_only_an_ensemble_plans_its_members_too(checkout):
    attacks = {"attacks": ["noop", "sign", "blind"], "ensembles": {"both": ["noop", "sign"]}}
    checkout.module("attack", "blind", "", no_model_access=True)
    whole = checkout.plan(matrix(**attacks))
    part = checkout.plan(only={"attack": {"both"}})
    assert {c.info.attack for c in part.cells.values()} == {"both", "noop", "sign"}
    assert cell(part, attack="both").key == cell(whole, attack="both").key


# -- random networks --------------------------------------------------------------------------


def options_of(plan, defense, role):
    key = cell(plan, defense=defense).stages[role]
    return plan.graph.stages[key].recipe.options


@pytest.fixture(scope="module")
def noisy(checkout):
    checkout.module("defense", "noisy", GUARD, hooks=["guard"], random=True)
    checkout.module("defense", "drawing-trainer", TRAINER, hooks=["fit"], random=True)
    return checkout


def test_a_defence_that_draws_is_asked_several_times(noisy):
    defenses = ["none", "noisy", "drawing-trainer"]
    plan = noisy.plan(matrix(defenses=defenses, attacks=["sign"]))
    for defense, samples, draws in (("none", 1, 1), ("noisy", 8, 5), ("drawing-trainer", 1, 1)):
        for role in ("attack", "probe"):
            assert options_of(plan, defense, role).samples == samples
        for role in ("before", "after"):
            assert options_of(plan, defense, role).draws == draws
        assert options_of(plan, defense, "before").rebatch == (draws == 1)
        assert cell(plan, defense=defense).random == (draws > 1)
    fewer = noisy.plan(
        matrix(defenses=defenses, attacks=["sign"], random={"samples": 4, "draws": 2})
    )
    assert options_of(fewer, "noisy", "attack").samples == 4
    assert options_of(fewer, "noisy", "probe").samples == 4
    assert options_of(fewer, "noisy", "after").draws == 2
    for defense in ("none", "drawing-trainer"):
        assert cell(fewer, defense=defense).key == cell(plan, defense=defense).key


def test_only_the_network_itself_is_asked_several_times(noisy):
    defenses = ["none", "noisy"]
    queries = noisy.plan(matrix(**QUERY, defenses=defenses))
    assert options_of(queries, "noisy", "attack").samples == 8  # to compare, not to answer
    transfer = noisy.plan(matrix(**TRANSFER, defenses=defenses, attacks=["sign"]))
    assert options_of(transfer, "noisy", "attack").samples == 1
    assert options_of(transfer, "noisy", "after").draws == 5
