"""Inputs that defences borrow: which are planned, and what nobody borrows."""

import io
from collections import Counter

import pytest
from rich.console import Console

from harness.commands.plan import plan as plan_command
from harness.common.errors import UserErrors
from harness.planning.borrowed import STRONGEST
from tests.support.module_sources import PERTURB
from tests.support.workspaces import QUERY, Checkout, cell, matrix

CODE = PERTURB.format("return x.clone()")
GRADIENT = {"needs": ["loss"]}


def borrowed(plan) -> Counter[tuple[str, str]]:
    return Counter(
        (c.info.defense, c.info.attack) for c in plan.cells.values() if c.info.made_against
    )


@pytest.fixture
def modules(tmp_path):
    checkout = Checkout(tmp_path)
    for name in ("climb", "leap"):
        checkout.module("attack", name, CODE, **GRADIENT)
    return checkout


def three(**changes):
    attacks = ["noop", "sign", "climb", "leap"]
    return matrix(defenses=["none", "guard", "trainer"], attacks=attacks, borrow="all") | changes


def test_all_of_the_undefended_and_the_strongest_of_every_other(modules) -> None:
    plan = modules.plan(three())
    of_none = ("sign@none", "climb@none", "leap@none", "shrunk@none")
    assert borrowed(plan) == {
        **dict.fromkeys([("guard", attack) for attack in (*of_none, "strongest@trainer")], 1),
        **dict.fromkeys([("trainer", attack) for attack in (*of_none, "strongest@guard")], 1),
        ("none", "strongest@guard"): 1,
        ("none", "strongest@trainer"): 1,
        **dict.fromkeys([(name, "shrunk@itself") for name in ("none", "guard", "trainer")], 1),
    }
    kinds = Counter(stage.kind for stage in plan.graph.stages.values())
    assert kinds[STRONGEST] == 2 + 3  # each of the three also with the changes shrunk


def test_a_borrowed_cell_needs_nothing_but_a_prediction(modules) -> None:
    plan = modules.plan(three())
    mine = cell(plan, defense="guard", attack="climb@none")
    theirs = cell(plan, defense="none", attack="climb")
    assert mine.stages["batch"] == theirs.stages["attack"]
    assert mine.stages["measure"] == theirs.stages["measure"]
    assert mine.own == {mine.stages["after"]}
    assert "attack" not in mine.stages  # what it was shown is another network's business
    assert set(mine.modules) == {"victims/tiny", "defenses/guard", "defenses/none", "attacks/climb"}


def test_the_benchmark_says_how_much(modules) -> None:
    assert not borrowed(modules.plan(three(borrow="none")))
    donors = {
        label.partition("@")[2] for _, label in borrowed(modules.plan(three(borrow="undefended")))
    }
    assert donors == {"none", "itself"}


def test_without_the_control_only_rivals_lend(modules) -> None:
    found = borrowed(modules.plan(three(defenses=["guard", "trainer"])))
    assert found == {
        (name, label): 1
        for name, other in (("guard", "trainer"), ("trainer", "guard"))
        for label in (f"strongest@{other}", "shrunk@itself")
    }


@pytest.mark.parametrize("name", ["guard", "none"])
def test_one_defence_meets_nothing_but_its_own(modules, name) -> None:
    found = borrowed(modules.plan(three(defenses=[name])))
    assert found == {(name, "shrunk@itself"): 1}


def test_inputs_that_are_the_same_for_all_are_not_borrowed(modules) -> None:
    modules.module("attack", "blind", CODE, no_model_access=True)
    found = borrowed(modules.plan(three(attacks=["blind", "climb"])))
    assert ("guard", "climb@none") in found
    assert ("guard", "blind@none") not in found


def test_one_gradient_attack_is_the_strongest_by_itself(modules) -> None:
    found = borrowed(modules.plan(three(attacks=["noop", "climb"])))
    assert ("none", "climb@guard") in found


def test_what_a_rule_excludes_is_not_borrowed(modules) -> None:
    modules.module("attack", "adaptive", CODE, against=["none"], **GRADIENT)
    assert borrowed(modules.plan(three(attacks=["adaptive"]))) == {("none", "shrunk@itself"): 1}


def test_only_a_part_of_the_plan_still_borrows(modules) -> None:
    plan = modules.plan(three(), only={"defense": {"guard"}})
    assert ("guard", "climb@none") in borrowed(plan)
    assert {c.info.defense for c in plan.cells.values()} == {"guard"}


def test_the_plan_says_what_borrowing_costs(modules) -> None:
    modules.benchmark(three())
    text = io.StringIO()
    plan_command(modules.workspace(), "b", why=None, only=None, device="cpu", executor="local",
                 console=Console(file=text, width=200))  # fmt: skip
    # eight of guard and trainer, two of none, five shrunk; five batches are chosen and measured
    line = "15 of the cells are predictions on inputs of other cells: 25 stages more"
    assert line in text.getvalue()


def test_other_threat_models_refuse_the_key(modules) -> None:
    with pytest.raises(UserErrors) as caught:
        modules.plan(matrix(**QUERY, borrow="all"))
    assert "evasion-query borrows no inputs" in str(caught.value)
