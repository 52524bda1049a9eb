"""A list of amounts of training data: a matrix for each, as if it had been written out."""

from pathlib import Path

import numpy as np
import pytest

from harness import datasets
from harness.common.errors import UserError
from harness.config.benchmark import load_benchmark
from harness.datasets.fraction import train_rows
from harness.planning.recipe import DataRecipe
from tests.support.workspaces import POISONING, Checkout, matrix

COUNTS = {"name": "digits", "train_examples": [20, 500, 1000]}
SHARES = {"name": "digits", "train_fraction": [0.02, 0.5, 1]}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("levels"))


def levels(entry, name="m", **changes):
    return matrix(name, data={"student": entry}, **changes)


def stages_of(plan, name):
    return {key for c in plan.cells.values() if c.info.matrix == name for key in c.stages.values()}


def fractions(plan):
    recipes = [stage.recipe for stage in plan.graph.stages.values()]
    return sorted(one.train_fraction for one in recipes if isinstance(one, DataRecipe))


def test_each_level_is_a_matrix_whose_name_and_title_say_its_amount(checkout):
    checkout.benchmark(levels(COUNTS), levels(SHARES | {"train_fraction": [0.02, 1]}, "share"))
    benchmark = load_benchmark("b", checkout.root)
    assert [(one.name, one.title) for one in benchmark.planned] == [
        ("m@20", "Matrix m, trained on 20 examples"),
        ("m@500", "Matrix m, trained on 500 examples"),
        ("m@1000", "Matrix m, trained on 1,000 examples"),
        ("share@0.02", "Matrix share, trained on 0.02 of all"),
        ("share@1", "Matrix share, trained on all examples"),
    ]
    assert [one.name for one in benchmark.matrices] == ["m", "share"]


def test_a_fraction_keeps_its_text_in_words_and_loses_the_slash_in_names(checkout):
    checkout.benchmark(levels(SHARES))
    file = checkout.root / "benchmarks" / "b" / "benchmark.yaml"
    file.write_text(file.read_text().replace("0.02", "20/1000"))
    first = load_benchmark("b", checkout.root).planned[0]
    assert (first.name, first.data["student"].amount) == ("m@20of1000", "20/1000 of all")


def test_levels_are_keyed_as_if_each_had_been_written_by_hand(checkout):
    apart = [
        levels({"name": "digits", "train_examples": 20}, "few"),
        levels({"name": "digits", "train_fraction": 0.5}, "half"),
        matrix("whole"),
    ]
    plan = checkout.plan(levels(COUNTS), *apart)
    for level, name in (("m@20", "few"), ("m@500", "half"), ("m@1000", "whole")):
        assert stages_of(plan, level) == stages_of(plan, name)
    assert fractions(plan) == [0.02, 0.5, 1]
    assert len({cell.key for cell in plan.cells.values()}) == len(plan.cells) == 6


@pytest.mark.parametrize("entry", [COUNTS, SHARES], ids=["counts", "shares"])
def test_shares_and_counts_of_as_many_examples_are_the_same_stages(checkout, entry):
    assert fractions(checkout.plan(levels(entry))) == [0.02, 0.5, 1]


def test_counts_are_exact_nested_and_leave_validation_whole():
    digits = datasets.load("digits", Path("/nowhere"))
    sets, before = datasets.Datasets(Path("/nowhere")), set[int]()
    for count in (1, 7, 333, 999):
        rows = train_rows("digits", digits, sets.share("digits", count))
        assert len(rows) == count
        assert before < set(rows.tolist())
        before = set(rows.tolist())
    # no number is lost to rounding, however large the set
    for total in (45_000, 1_281_167, 99_999_989):
        some = np.random.default_rng(0).integers(1, total, 2000)
        assert all(round(int(n) / total * total) == n for n in some)


def test_only_takes_one_level_or_all_of_a_matrix(checkout):
    checkout.benchmark(levels(COUNTS), matrix("other"))
    for label, count in (("m", 3), ("m@500", 1), ("other", 1)):
        assert len(checkout.plan(only={"matrix": {label}}).cells) == count
    assert len(checkout.plan(only={"matrix": {"m@20", "other"}}).cells) == 2
    with pytest.raises(UserError, match=r"^--only matrix=m@30: no cell of the plan matches"):
        checkout.plan(only={"matrix": {"m@30"}})


def test_ids_of_cells_are_paths_and_the_edits_are_of_the_level(checkout):
    plan = checkout.plan(
        levels(COUNTS, **POISONING | {"budgets": [{"edits": 0.1, "labels": True}]})
    )
    assert "b/m@500/tiny/none/flip/10-label-edits/s0" in plan.cells


def test_a_mistake_in_a_module_is_reported_once(checkout):
    with pytest.raises(UserError) as caught:
        checkout.plan(levels(COUNTS, attacks=["sing"]))
    (line,) = str(caught.value).splitlines()
    assert "matrices[0].attacks[0]: no attack named 'sing'" in line
