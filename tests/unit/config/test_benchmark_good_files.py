"""Benchmarks: the example of the architecture is read, and its values are told to people."""

import json

import pytest

from harness.config.benchmark import BUDGET_FIELDS, BudgetEntry, Goal, Knowledge, load_benchmark
from harness.config.ensembles import Ensemble
from harness.config.field_types import THREAT_MODELS
from tests.support.benchmark_files import BUDGETS, DATA, QUICK, matrix_with, write
from tests.support.errors import raises_error

pytestmark = pytest.mark.usefixtures("root")


def test_the_example_of_the_architecture():
    write(QUICK)
    benchmark = load_benchmark("quick")
    (matrix,) = benchmark.matrices
    assert (benchmark.name, benchmark.ceiling.minutes) == ("quick", 5.0)
    assert matrix.data["student"].name == "digits"
    assert [entry.label for entry in matrix.attacks] == [
        "noop",
        "random_noise",
        "fgsm",
        "pgd-40",
        "pgd/pgd-100",
    ]
    assert (matrix.attacks[4].name, matrix.attacks[4].variant) == ("pgd", "pgd-100")
    assert matrix.attacks[3].params == {"steps": 40}
    assert matrix.defenses[1].adversary.attack == "pgd"
    assert matrix.defenses[1].adversary.budget.to_json() == {"norm": "linf", "eps": 8 / 255}
    assert [budget.label for budget in matrix.budgets] == ["L∞ 4/255", "L∞ 8/255"]
    assert (matrix.goal, matrix.goal.label) == (Goal(), "untargeted")
    assert matrix.knowledge == Knowledge()
    assert matrix.ensembles == {"all-pgd": Ensemble(members=("pgd/pgd-100", "pgd-40"))}
    assert (matrix.eval_subset.examples, matrix.eval_subset.batch, matrix.clean) == (500, 100, 100)
    assert matrix.seeds == (0, 1, 2)
    where = benchmark.where(("matrices", 0, "attacks", 3, "params", "steps"))
    assert where == "benchmarks/quick/benchmark.yaml:14:60: matrices[0].attacks[3].params.steps"


def test_what_may_be_left_out():
    names = ("goal", "knowledge", "poisons", "ensembles", "clean", "seeds", "keep")
    matrix = matrix_with(**dict.fromkeys(names))
    assert matrix.goal == Goal()
    assert (matrix.seeds, matrix.clean, matrix.task) == ((0,), None, None)
    assert (matrix.keep.examples, matrix.keep.attention) == (8, ())
    assert (matrix.random.samples, matrix.random.draws) == (8, 5)


def test_found_by_name_folder_or_file(root):
    folder = write(QUICK)
    for way in ("quick", folder, folder / "benchmark.yaml", str(root / folder)):
        assert load_benchmark(way, root).name == "quick"
    with raises_error("unknown-benchmark", where="quik"):
        load_benchmark("quik", root)


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("{targeted: random}", "targeted: random"),
        ("{targeted: least_likely}", "targeted: least_likely"),
        ("{targeted: 3}", "targeted: 3"),
        ("untargeted", "untargeted"),
    ],
)
def test_goals(written, label):
    assert matrix_with(goal=written).goal.label == label


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("none", "none"),
        ("clean-victim", "clean-victim"),
        ("{surrogate: small-cnn}", "surrogate: small-cnn"),
    ],
)
def test_knowledge(written, label):
    assert matrix_with(knowledge=written).knowledge.label == label


@pytest.mark.parametrize(("threat_model", "written", "label"), BUDGETS)
def test_budgets_for_people(threat_model, written, label):
    matrix = matrix_with(threat_model=threat_model, budgets=f"[{written}]", data=DATA)
    (budget,) = matrix.budgets
    assert budget.label == label
    assert "Ratio" not in {type(value).__name__ for value in budget.to_json().values()}
    assert json.loads(json.dumps(budget.to_json())) == budget.to_json()
    assert BudgetEntry.model_validate(budget.to_json()).to_json() == budget.to_json()


def test_every_threat_model_has_a_budget():
    assert tuple(BUDGET_FIELDS) == THREAT_MODELS
    for rule in BUDGET_FIELDS.values():
        named = {*rule.allowed, *rule.required, *rule.one_of}
        assert named <= set(BudgetEntry.model_fields)
        assert {*rule.required, *rule.one_of} <= set(rule.allowed)


def test_a_share_becomes_a_count():
    assert BudgetEntry(edits=0.05).count(1437) == 72
    assert BudgetEntry(norm="l2", eps=1.0).count(1437) is None
