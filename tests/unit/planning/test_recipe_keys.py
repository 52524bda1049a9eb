"""Recipes enter keys as JSON: what it is may change only together with ``KEY_VERSION``."""

import pytest

from harness.common.keys import ROOT, canonical_json, digest
from harness.config import environments
from harness.config.catalog import Module
from harness.datasets import Datasets
from harness.planning import plan as planning
from harness.planning import stage_keys
from harness.planning.cell import CellInfo
from harness.planning.options import (
    AccessOptions,
    AttackOptions,
    ImportOptions,
    NoOptions,
    PredictOptions,
    ProbeOptions,
)
from harness.planning.recipe import DataRecipe, ModuleRef, StageRecipe
from harness.workspace import Workspace

QUICK = "c96299a8773def25ab9dc2fb24b3e305cb0f7cc3e106240d643cf40b8a5ada0e"
"""Digest of all stage and cell keys of ``quick``, with literal digests of code, data and modules.

It changes with the benchmark and with a manifest's parameters, too: then pin the new one. It must
not change with the code of the plan alone.
"""


@pytest.fixture
def literal(monkeypatch):
    """Digests that depend on nothing but names, so that only recipes are left in keys."""
    for module in (stage_keys, environments):
        monkeypatch.setattr(module, "environment_digest", lambda: "environment")
    monkeypatch.setattr(stage_keys, "runtime_digest", lambda: "runtime")
    monkeypatch.setattr(stage_keys, "code_digest", "+".join)
    monkeypatch.setattr(planning, "judge_digest", lambda: "judge")
    monkeypatch.setattr(Datasets, "key_digest", lambda self, name: f"digest of {name}")
    monkeypatch.setattr(Module, "digest", property(lambda self: f"digest of {self.ref}"))


def test_all_keys_of_quick(literal, tmp_path):
    workspace = Workspace(ROOT, tmp_path)
    plan = workspace.plan(workspace.benchmark("quick"))
    found = [list(plan.graph.stages), [[cell.id, cell.key] for cell in plan.cells.values()]]
    assert digest(found) == QUICK


def test_shots_and_parts_enter_a_data_stage_only_where_there_are_some():
    assert "shots" not in DataRecipe("digits", "d", 0.5).to_json()
    assert DataRecipe("digits", "d", 1.0, 5).to_json()["shots"] == 5
    assert "part" not in DataRecipe("digits", "d", 0.5).to_json()
    assert DataRecipe("digits", "d", 1.0, part="1/2").to_json()["part"] == "1/2"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (NoOptions(), "{}"),
        (ImportOptions(), "{}"),
        (ImportOptions(start=True), '{"start":true}'),
        (PredictOptions(20), '{"batch":20}'),
        (PredictOptions(20, eight_bit=True), '{"batch":20,"eight_bit":true}'),
        (PredictOptions(20, rebatch=True), '{"batch":20,"rebatch":true}'),
        (PredictOptions(20, draws=5), '{"batch":20,"draws":5}'),
        (
            AccessOptions("victim", False, "perturb", samples=8),
            '{"access":"victim","hook":"perturb","no_model_access":false,"samples":8}',
        ),
        (
            AttackOptions("victim", False, "perturb", 20, False, samples=8),
            '{"access":"victim","batch":20,"hook":"perturb","least_likely":false,'
            '"no_model_access":false,"samples":8}',
        ),
        (
            AccessOptions("source", False, "perturb"),
            '{"access":"source","hook":"perturb","no_model_access":false}',
        ),
        (
            AttackOptions("none", True, "trigger", 20, False),
            '{"access":"none","batch":20,"hook":"trigger","least_likely":false,'
            '"no_model_access":true}',
        ),
        (
            ProbeOptions("victim", False, "probe", 64),
            '{"access":"victim","batch":64,"hook":"probe","no_model_access":false}',
        ),
    ],
)
def test_options_have_one_json_form(options, text):
    assert canonical_json(options.to_json()).decode() == text


def test_a_module_without_a_budget_has_no_key_for_it():
    ref = ModuleRef("attacks/pgd", "d", {"steps": 7})
    assert canonical_json(ref.to_json()) == (
        b'{"digest":"d","module":"attacks/pgd","params":{"steps":7}}'
    )
    budget = ModuleRef("attacks/pgd", "d", {}, {"eps": 0.5}).to_json()["budget"]
    assert budget == {"eps": 0.5}


def test_a_stage_s_recipe_is_frozen_and_has_five_keys():
    recipe = StageRecipe({}, 0, 1, {"eps": 0.5}, PredictOptions(20))
    assert canonical_json(recipe.to_json()) == (
        b'{"budget":{"eps":0.5},"modules":{},"options":{"batch":20},"seed":0,"threads":1}'
    )
    with pytest.raises(AttributeError):
        recipe.seed = 1
    assert recipe.with_options(NoOptions()).to_json()["budget"] == {}


def test_a_cell_s_description_survives_its_record(tmp_path):
    workspace = Workspace(ROOT, tmp_path)
    plan = workspace.plan(workspace.benchmark("digits-ranking"))
    cell = next(iter(plan.cells.values()))
    assert CellInfo.from_json(cell.info.to_json()) == cell.info
    assert cell.info.labels("seed") == {"0"}
    assert cell.info.labels("nothing") == {"None"}
