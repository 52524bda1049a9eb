"""What each side of an attack is granted: the job of the attack, and that of its network."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.catalog import FOLDERS
from harness.config.environments import Environments
from harness.executors.base import StageJob
from harness.running.jobs import environments_of, with_service
from tests.support.jobs import job_file, module_entry
from tests.support.workspaces import QUERY, Checkout, cell, matrix


def split(access, *, needs=(), undefended=False, **options):
    inputs = {"weights": "/w", "slice_x": "/x", "slice_y": "/y", "goal": "/g", "state": "/s"}
    inputs |= {"undefended": "/u"} if undefended else {}
    file = job_file(
        ("attack", "victim", "defense"),
        stage="attack",
        inputs=inputs,
        options={"threads": 1, "access": access, "budget": {}, **options},
    )
    modules = {**file.modules, "attack": module_entry("attack", needs=needs)}
    file = replace(file, modules=modules)
    return with_service(StageJob("k" * 64, Path("/run/k"), file, 10.0, 4.0))


@pytest.mark.parametrize("access", ["victim", "oracle"])
def test_labels_stay_with_the_attack_and_weights_and_guard_with_the_network(access):
    job = split(access, needs=("loss", "gradients"))
    assert set(job.file.modules) == {"attack"}
    assert set(job.file.inputs) == {"slice_x", "slice_y", "goal", "state"}
    network = job.service.file
    assert network.stage == "network"
    assert set(network.modules) == {"victim", "defense"}
    assert set(network.inputs) == {"weights"} | ({"slice_x"} if access == "oracle" else set())
    assert network.options["needs"] == ["loss", "gradients"]
    assert job.service.folder != job.folder
    assert network.checkpoint != job.file.checkpoint


def test_goals_that_the_network_draws_need_the_clean_inputs_there():
    assert "slice_x" in split("victim", least_likely=True).service.file.inputs
    assert "slice_x" not in split("victim", least_likely=False).service.file.inputs


def test_an_attack_that_asks_for_weights_gets_those_without_the_defence():
    job = split("victim", needs=("weights",), undefended=True)
    assert set(job.file.modules) == {"attack", "victim"}
    assert job.file.inputs["undefended"] == "/u"
    assert "weights" not in job.file.inputs
    assert "undefended" not in job.service.file.inputs


@pytest.mark.parametrize(
    ("defense", "kept"), [("sha256:2", {"sha256:1"}), ("sha256:1", {"sha256:1"})]
)
def test_each_side_gets_the_files_that_its_own_modules_take(defense, kept):
    book = {"files": ("book",)}
    modules = {
        "attack": module_entry("attack", params={"book": "sha256:1"}, **book),
        "victim": module_entry("victim", params={"book": ""}, **book),
        "defense": module_entry("defense", params={"book": defense}, **book),
    }
    inputs = {"weights": "/w", "slice_x": "/x", "sha256:1": "/1", defense: "/2"}
    options = {"threads": 1, "access": "victim", "budget": {}}
    file = job_file(stage="attack", inputs=inputs, options=options, modules=modules)
    job = with_service(StageJob("k" * 64, Path("/run/k"), file, 10.0, 4.0))
    assert set(job.file.inputs) == {"slice_x"} | kept
    assert set(job.service.file.inputs) == {"weights", defense}


def test_a_probe_has_the_network_answer_and_holds_no_module():
    inputs = {"weights": "/w", "slice_x": "/x", "slice_y": "/y"}
    options = {"threads": 1, "access": "victim", "budget": {}, "batch": 64}
    file = job_file(("victim", "defense"), stage="probe", inputs=inputs, options=options)
    job = with_service(StageJob("k" * 64, Path("/run/k"), file, 10.0, 4.0))
    assert job.file.modules == {}
    assert set(job.file.inputs) == {"slice_x", "slice_y"}
    assert set(job.service.file.modules) == {"victim", "defense"}
    assert set(job.service.file.inputs) == {"weights"}
    assert job.service.file.options["needs"] == ["gradients", "training_loss_gradient"]


# -- what is planned --------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path):
    found = Checkout(tmp_path)
    found.module("attack", "blind", "", no_model_access=True)
    found.module("attack", "learns", "", no_model_access=True, hooks=["learn", "perturb"])
    found.module("attack", "reads", "", needs=["weights"])
    found.module("defense", "builds", "", hooks=["build"])
    return found


def stage(plan, kind="attack", **labels):
    found = cell(plan, **labels).stages[kind]
    return plan.graph.stages[found]


def test_an_attack_without_model_access_gets_no_network_at_test_time(checkout):
    plan = checkout.plan(matrix(attacks=["blind", "learns", "sign"], defenses=["none", "guard"]))
    for attack, inputs in (("blind", set()), ("learns", {"state"})):
        found = stage(plan, attack=attack, defense="guard")
        assert set(found.modules) == {"attack"}
        assert set(found.inputs) == {"spec", "slice_x"} | inputs
        assert found.recipe.options.access == "none"
    learned = plan.graph.stages[stage(plan, attack="learns", defense="guard").inputs["state"].key]
    assert "weights" in learned.inputs
    assert "weights" in stage(plan, attack="sign", defense="guard").inputs


def test_a_blind_attack_that_learns_nothing_serves_every_defence(checkout):
    plan = checkout.plan(matrix(attacks=["blind"], defenses=["none", "guard"]))
    keys = {cell(plan, attack="blind", defense=d).stages["attack"] for d in ("none", "guard")}
    assert len(keys) == 1


def test_the_network_without_the_defence_is_the_cells_own_unless_its_build_is(checkout):
    plan = checkout.plan(matrix(attacks=["reads"], defenses=["none", "guard", "builds"]))
    networks = {}
    for defense in ("none", "guard", "builds"):
        found = stage(plan, attack="reads", defense=defense)
        networks[defense] = (found.inputs["undefended"].key, found.inputs["weights"].key)
    assert networks["none"] == networks["guard"]
    assert len(set(networks["guard"])) == 1
    assert networks["builds"][0] == networks["none"][0] != networks["builds"][1]


def test_an_oracle_grants_no_weights_whatever_the_manifest_asks_for(checkout):
    checkout.module("attack", "asks", "", needs=["weights"], threat_models=["evasion-query"])
    plan = checkout.plan(matrix(**QUERY | {"attacks": ["asks"]}))
    assert "attack" not in cell(plan, attack="asks").stages
    assert "weights" in cell(plan, attack="asks").reason


def test_requirements_of_attack_and_defence_never_meet(checkout):
    for kind, name, pin in (("attack", "sign", "1.0"), ("defense", "guard", "2.0")):
        (checkout.root / FOLDERS[kind] / name / "requirements.txt").write_text(f"six=={pin}\n")
    plan = checkout.plan(matrix(attacks=["sign"], defenses=["none", "guard"]))
    found = stage(plan, attack="sign", defense="guard")
    sides = environments_of(found, Environments(plan.environments.catalog, "docker"))
    assert [one.pins for one in sides] == [("six==1.0",), ("six==2.0",)]
    alone = stage(plan, "train", attack="sign", defense="guard")
    assert len(environments_of(alone, Environments(plan.environments.catalog, "docker"))) == 1


def test_requirements_that_meet_in_one_process_are_in_conflict(checkout):
    for kind, name, pin in (("victim", "tiny", "1.0"), ("defense", "guard", "2.0")):
        (checkout.root / FOLDERS[kind] / name / "requirements.txt").write_text(f"six=={pin}\n")
    plan = checkout.plan(matrix(attacks=["sign"], defenses=["none", "guard"]))
    assert cell(plan, attack="sign", defense="none").reason is None
    assert "six==2.0" in cell(plan, attack="sign", defense="guard").reason
