"""Whole runs of tiny matrices: the records, and what is written when."""

import json
import shutil

import pytest

from harness.results import record_tree
from harness.running.scheduler import Scheduler
from harness.runtime.worker import health_names
from harness.storage.store import Store
from tests.support.whole_run import find, value
from tests.support.workspaces import (
    kinds,
)

pytestmark = pytest.mark.xdist_group("run")


def test_every_planned_cell_has_one_record(everything):
    checkout, done = everything
    plan = checkout.plan()
    assert checkout.records().keys() == plan.cells.keys()
    assert done.tally.records == len(plan.cells)
    assert done.tally.stages == sum(kinds(plan).values())
    assert done.tally.failed == 0
    statuses = {r.status for r in checkout.records().values()}
    assert statuses == {"ok", "not_applicable"}  # sanitizers play no part in evasion


def test_every_record_is_valid_and_names_its_stages_and_modules(everything):
    checkout, _ = everything
    plan = checkout.plan()
    for name, record in checkout.records().items():
        assert record.key == plan.cells[name].key
        assert record.stages.keys() == plan.cells[name].stages.keys()
        if record.stages:
            assert "victims/tiny" in record.modules
            assert record.environment.executor == "local"
            assert record.run.seconds.keys() == record.stages.keys()


def test_the_identity_attack_equals_clean(everything):
    for defense in ("none", "guard", "trainer", "repairer"):
        record = find(everything[0], matrix="evasion", defense=defense, attack="noop")
        assert value(record, "accuracy") == value(record, "clean_accuracy")
        assert value(record, "attack_success_rate") == 0
        assert record.outcomes["before"] == record.outcomes["after"]
        assert record.perturbation["linf_max"] == 0
        assert not record.flags


def test_an_attack_with_gradients_does_better_than_none(everything):
    checkout, _ = everything
    noop, sign = (
        find(checkout, matrix="evasion", defense="none", attack=name) for name in ("noop", "sign")
    )
    assert value(sign, "robust_accuracy") < value(noop, "robust_accuracy") - 0.1
    assert sign.perturbation["linf_max"] == pytest.approx(0.1, abs=1e-6)
    assert sign.cost["attack"] == {
        "forward": 40,
        "backward": 40,
    }  # what the network is shown costs nothing


def test_white_box_cells_have_the_health_of_their_gradients_and_no_others(everything):
    checkout, _ = everything
    white_box = {"evasion", "goal", "draws"}
    for record in checkout.records().values():
        wanted = record.cell.matrix in white_box and bool(record.stages)
        assert (record.health is not None) == wanted, record.id
        if record.health is not None:
            asked = record.cell.attack == "sign"
            assert record.health.keys() == {
                *health_names.PROBE,
                *(health_names.ATTACK if asked else [health_names.BACKWARD]),
            }
    sign = find(checkout, matrix="evasion", defense="none", attack="sign")
    assert sign.health["backward_passes"] == 1
    assert sign.health["unlimited_success"] == sign.health["probe_loss_rose"] == 1
    assert sign.health["gradient_agreement"] > 0.9
    assert sign.health["start_zero_gradients"] == sign.health["probe_start_zero_gradients"] == 0
    guard = find(checkout, matrix="evasion", defense="guard", attack="sign")
    assert guard.stages["probe"] != sign.stages["probe"]


def test_an_ensemble_is_the_worst_of_its_members(everything):
    checkout, _ = everything
    both, sign = (
        find(checkout, matrix="evasion", defense="none", attack=name) for name in ("both", "sign")
    )
    assert value(both, "robust_accuracy") == value(sign, "robust_accuracy")
    assert both.stages == {}
    blocked = find(checkout, matrix="evasion", defense="sanitizer", attack="both")
    assert blocked.status == "not_applicable"


def test_targets_are_judged_where_they_are_wanted(everything):
    checkout, _ = everything
    for name in ("goal", "draws"):
        record = find(checkout, matrix=name, attack="sign")
        assert value(record, "untargeted_success_rate") > 0
    towards = find(checkout, matrix="goal", attack="sign")
    nowhere = find(checkout, matrix="goal", attack="noop")
    assert value(towards, "attack_success_rate") > value(nowhere, "attack_success_rate")


def test_the_oracle_counts_every_example(everything):
    record = find(everything[0], matrix="query")
    assert record.queries == {"max": 1, "median": 1.0}


def test_training_time_attacks_come_with_a_control(everything):
    for name in ("backdoor", "supply"):
        record = find(everything[0], matrix=name)
        assert {"control_before", "control_after"} <= record.stages.keys()


def test_nothing_is_left_over_and_passing_artefacts_are_gone(everything):
    checkout, _ = everything
    assert checkout.leftovers() == []
    assert checkout.processes() == []
    store = Store(checkout.home / "store")
    for stage in checkout.plan().graph.stages.values():
        assert store.verify(stage.key)
        if stage.intermediate:
            assert not store.has(stage.key, stage.intermediate)
            assert not store.part(stage.key, stage.intermediate).exists()


def test_the_attacker_s_parts_of_a_threat_model_are_all_that_its_job_names(everything):
    """What the threat model withholds is not in the job at all."""
    plan = everything[0].plan()
    granted = {
        s.recipe.options.access: set(s.inputs)
        for s in plan.graph.stages.values()
        if s.kind == "attack"
    }
    assert granted["none"] <= {"spec", "state", "slice_x"}
    assert "slice_y" in granted["victim"]


def test_a_second_run_runs_nothing_writes_nothing_and_says_the_same(everything):
    checkout, done = everything
    files = sorted(checkout.home.rglob("*.json"))
    again = checkout.run()
    assert (again.tally.stages, again.tally.records, again.tally.failed) == (0, 0, 0)
    assert again.said.splitlines()[1:] == done.said.splitlines()[1:]
    assert sorted(checkout.home.rglob("*.json")) == files


def test_records_come_as_soon_as_they_can_and_equal_in_any_order(checkout, monkeypatch):
    """A kill loses no finished cell: its record is there before the last stage has ended."""
    before = checkout.results()
    shutil.rmtree(checkout.home)
    seen = []
    ended = Scheduler._ended

    def watched(self, job, result):
        ended(self, job, result)
        seen.append(len(list(record_tree.walk(checkout.home / "records"))))

    monkeypatch.setattr(Scheduler, "_ended", watched)
    checkout.run(jobs=1)
    assert len(set(seen)) > 2
    assert seen == sorted(seen)
    assert {k: v for k, v in before.items() if k in checkout.records()} == checkout.results()


def test_receipts_say_what_a_stage_took(everything):
    checkout, _ = everything
    store = Store(checkout.home / "store")
    receipts = [store.receipt(key) for key in store.entries()]
    train = [r for r in receipts if r.kind == "train"]
    assert all(0 < r.hook_seconds <= r.seconds for r in train)
    assert all(r.exit_code == 0 for r in train)
    assert json.loads((checkout.home / "timings.json").read_text())
