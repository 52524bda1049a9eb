"""Whole runs of tiny matrices: what is run, what is not run again, and what a person is told."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from harness.common.errors import UserError
from harness.common.files import load_array
from harness.common.progress import Meter
from harness.executors.local import LocalExecutor
from harness.results import records
from harness.running import scheduler
from harness.running.scheduler import Scheduler
from harness.storage.store import Store
from tests.support.workspaces import (
    BACKDOOR,
    PERTURB,
    POISONING,
    QUERY,
    SIGN,
    SUPPLY_CHAIN,
    TRANSFER,
    Checkout,
    cell,
    kinds,
    matrix,
)

pytestmark = pytest.mark.xdist_group("run")

TARGETED = matrix("goal", goal={"targeted": "next"}, attacks=["noop", "sign"])
MATRICES = [
    matrix(
        "evasion",
        attacks=["noop", "sign"],
        defenses=["none", "guard", "trainer", "repairer", "sanitizer"],
        ensembles={"both": ["noop", "sign"]},
        clean=50,
    ),
    TARGETED,
    matrix("draws", goal={"targeted": "least_likely"}, attacks=["sign"]),
    matrix("query", **QUERY),
    matrix("transfer", **TRANSFER, attacks=["sign"], defenses=["none", "guard"]),
    matrix("poisoning", **POISONING, defenses=["none", "sanitizer"]),
    matrix("backdoor", **BACKDOOR),
    matrix("supply", **SUPPLY_CHAIN),
    matrix("ranking", **POISONING | {"data": {"student": "digits-ranking"}}),
]


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Every threat model once, run once; tests only read it."""
    checkout = Checkout(tmp_path_factory.mktemp("everything"))
    checkout.benchmark(*MATRICES)
    return checkout, checkout.run()


@pytest.fixture
def checkout(everything, tmp_path):
    """The evasion matrix of the checkout that has run, store and all, for a test to spoil."""
    shutil.copytree(everything[0].root, tmp_path / "copy")
    copy = Checkout(tmp_path / "copy")
    copy.benchmark(MATRICES[0])
    return copy


def find(checkout, plan=None, **labels):
    """The record of the one cell with these labels."""
    return checkout.records()[cell(plan or checkout.plan(), **labels).id]


def value(record, metric):
    return record.metrics[metric].value


# -- one run ----------------------------------------------------------------------------------


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
    assert sign.cost["attack"] == {"forward": 80, "backward": 40}  # shown outputs count too


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
        if stage.passing:
            assert not store.has(stage.key, stage.passing)
            assert not store.part(stage.key, stage.passing).exists()


def test_the_attacker_s_parts_of_a_threat_model_are_all_that_its_job_names(everything):
    """What the threat model withholds is not in the job at all."""
    plan = everything[0].plan()
    granted = {
        s.recipe["options"]["access"]: set(s.inputs)
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


# -- what changes -----------------------------------------------------------------------------


def test_a_changed_attack_runs_only_its_own_stages(checkout):
    before = checkout.results()
    (checkout.root / "attacks" / "sign" / "attack.py").write_text(SIGN.replace("* g", "* 0.5 * g"))
    plan = checkout.plan()
    done = checkout.run()
    kept = {name: r for name, r in checkout.results().items() if before.get(name) == r}
    # per defence that plays: attack, measure and the prediction on its output
    assert done.tally.stages == 4 * 3
    assert done.tally.records == 4 * 2  # the attack's cells, and the ensembles that it is in
    assert {plan.cells[name].info["attack"] for name in kept if name in plan.cells} == {"noop"} | {
        c.info["attack"] for c in plan.cells.values() if c.info["defense"] == "sanitizer"
    }


def test_a_new_defence_uses_what_others_have_made_even_what_was_passing(checkout):
    """The transfer batch was removed when its readers were done; the new reader gets it again."""
    transfer = {**TRANSFER, "attacks": ["sign"], "clean": 50}
    checkout.benchmark(matrix("transfer", **transfer, defenses=["none"]))
    assert checkout.run().tally.stages == 0
    checkout.benchmark(matrix("transfer", **transfer, defenses=["none", "repairer"]))
    done = checkout.run()
    assert done.tally.failed == 0
    # the batch again; the repair is there from the other matrix, and its answer on clean inputs
    assert done.tally.stages == 2
    assert find(checkout, defense="repairer").status == "ok"


def test_a_changed_victim_runs_everything_but_the_data(checkout, monkeypatch):
    """And no more stages run at once than ``jobs`` allows."""
    most = 0
    start = LocalExecutor.start

    def counted(self, job):
        nonlocal most
        start(self, job)
        most = max(most, len(self._running))

    monkeypatch.setattr(LocalExecutor, "start", counted)
    (checkout.root / "victims" / "tiny" / "note.txt").write_text("one more file")
    plan = checkout.plan()
    host = sum(count for kind, count in kinds(plan).items() if kind in ("data", "slice", "clean"))
    assert checkout.run(jobs=2).tally.stages == sum(kinds(plan).values()) - host
    assert most == 2


def test_a_long_stage_tells_what_it_is_at(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "LONG_SECONDS", 0.5)
    told = []
    monkeypatch.setattr(Meter, "update", lambda meter, done, total, what: told.append(what))
    checkout = Checkout(tmp_path)
    slow = "import time; ctx.log('half-way'); time.sleep(3); return x"
    checkout.module("attack", "slow", PERTURB.format(slow))
    checkout.benchmark(matrix(attacks=["slow"]))
    checkout.run()
    assert "attack slow: half-way" in told


def test_only_runs_what_was_chosen(checkout):
    shutil.rmtree(checkout.home)
    done = checkout.run(only={"attack": {"sign"}, "defense": {"none"}})
    assert done.tally.records == 1
    assert done.tally.stages == 7
    assert len(checkout.records()) == 1


def test_keep_all_leaves_attacked_inputs_for_people(checkout):
    shutil.rmtree(checkout.home)
    checkout.run(only={"attack": {"sign"}, "defense": {"none"}}, keep_all=True)
    plan = checkout.plan()
    key = cell(plan, attack="sign", defense="none").stages["attack"]
    kept = Store(checkout.home / "store").part(key, "attacked") / "x.npy"
    assert load_array(kept).shape == (40, 1, 8, 8)


# -- damage -----------------------------------------------------------------------------------


def corrupt(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def test_every_batch_draws_its_own_numbers(tmp_path):
    checkout = Checkout(tmp_path)
    draws = "return (x + 0.1 * torch.rand((), generator=ctx.generator())).clamp(0, 1)"
    checkout.module("attack", "draws", PERTURB.format(draws))
    checkout.benchmark(matrix(attacks=["draws"], eval_subset={"examples": 40, "batch": 10}))
    checkout.run(keep_all=True)
    stages = cell(checkout.plan()).stages
    store = Store(checkout.home / "store")
    clean = load_array(store.part(stages["slice"], "x") / "x.npy") / np.float32(255)
    attacked = load_array(store.part(stages["attack"], "attacked") / "x.npy")
    most = np.abs(attacked - clean).max(axis=(1, 2, 3))
    assert len(np.unique(most.round(5))) == 4


def test_a_corrupted_artefact_is_made_again(checkout):
    before = checkout.results()
    plan = checkout.plan()
    one = cell(plan, attack="sign", defense="guard")
    store = Store(checkout.home / "store")
    corrupt(store.path(one.stages["network"]) / "network.safetensors")
    corrupt(store.part(one.stages["after"], "outputs") / "outputs.npy")
    for path in records.walk(checkout.home / "records"):
        if records.read(path).id == one.id:
            path.unlink()
    done = checkout.run()
    # the prediction, and for it the training and the attack whose batch was passing
    assert done.tally.stages == 3
    assert checkout.results() == before


def test_a_corrupted_record_is_ignored_with_one_line_and_written_again(checkout):
    before, planned = checkout.results(), checkout.plan().cells
    walk = records.walk(checkout.home / "records")
    path = next(path for path in walk if records.read(path).id in planned)
    path.write_text(path.read_text().replace('"ok"', '"timeout"').replace("0", "1", 1))
    done = checkout.run()
    ignored = [line for line in done.said.splitlines() if line.startswith("ignored: ")]
    assert len(ignored) == 1
    assert path.name in ignored[0]
    assert done.tally.stages == 0
    path.unlink()
    assert checkout.results() == before


def test_a_lost_store_is_no_loss_of_records(checkout):
    before = checkout.results()
    shutil.rmtree(checkout.home / "store")
    assert checkout.run().tally.stages == 0
    assert checkout.results() == before


def test_lost_records_are_written_again_without_running_more_than_was_passing(checkout):
    before = checkout.results()
    shutil.rmtree(checkout.home / "records")
    done = checkout.run()
    assert done.tally.stages == 0
    assert {k: v for k, v in before.items() if k in checkout.records()} == checkout.results()


def test_a_full_disk_in_mid_run_is_one_line_and_nothing_is_lost(checkout, monkeypatch):
    shutil.rmtree(checkout.home)
    commit, count = Store.commit, 0

    def full(self, key, out, receipt):
        nonlocal count
        count += 1
        if count > 6:
            raise OSError(28, "No space left on device")
        return commit(self, key, out, receipt)

    checkout.benchmark(matrix(attacks=["noop", "sign"]))
    monkeypatch.setattr(Store, "commit", full)
    with pytest.raises(UserError, match=r"cannot be written.*No space left") as caught:
        checkout.run()
    assert "\n" not in str(caught.value)
    assert checkout.processes() == []
    monkeypatch.setattr(Store, "commit", commit)
    plan = checkout.plan()
    assert checkout.run().tally.stages == sum(kinds(plan).values()) - 6
    assert {r.status for r in checkout.records().values()} == {"ok"}


def test_a_stage_that_finds_the_disk_full_is_tried_again_by_the_next_run(checkout, monkeypatch):
    flag = checkout.root / "full"
    flag.touch()
    body = f"""from pathlib import Path
        if Path({str(flag)!r}).exists():
            raise OSError(28, 'No space left on device')
        return x"""
    checkout.module("attack", "writer", PERTURB.format(body))
    checkout.benchmark(matrix(attacks=["noop", "writer"]))
    monkeypatch.setattr("harness.running.scheduler.INFRA_RETRIES", 1)
    checkout.run()
    failed = find(checkout, attack="writer")
    assert failed.status == "infra_error"
    assert "No space left" in failed.reason
    assert find(checkout, attack="noop").status == "ok"
    flag.unlink()
    assert checkout.run().tally.stages == 3
    assert find(checkout, attack="writer").status == "ok"


# -- failures that come and go ----------------------------------------------------------------


def test_a_failure_is_repeated_only_when_asked_and_a_new_cell_behind_it_is_blocked(checkout):
    flag = checkout.root / "broken"
    flag.touch()
    code = f"""
from pathlib import Path

from torch import nn


class Moody:
    head, stages = "1", ()

    def build(self, spec):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, spec.outputs))

    def fit(self, network, train, val, loss, ctx, steps=None):
        if Path({str(flag)!r}).exists():
            raise ValueError("not today")
"""
    checkout.module("victim", "moody", code, hooks=["build", "fit"], entry="victim.py:Moody")
    checkout.benchmark(matrix(victims=["moody"]))
    assert checkout.run().tally.failed == 1
    assert find(checkout).status == "blocked"
    flag.unlink()
    assert checkout.run().tally.stages == 0
    checkout.benchmark(matrix(victims=["moody"], defenses=["none", "guard"]))
    done = checkout.run()
    assert (done.tally.stages, done.tally.records) == (0, 1)
    assert find(checkout, defense="guard").status == "blocked"
    assert "not today" in find(checkout, defense="guard").reason
    checkout.run(retry_failed=True)
    assert {find(checkout, defense=name).status for name in ("none", "guard")} == {"ok"}


def test_a_module_that_kills_the_fork_server_is_an_infra_error_and_the_others_go_on(
    checkout, monkeypatch
):
    monkeypatch.setattr("harness.running.scheduler.INFRA_RETRIES", 0)
    checkout.module("attack", "parricide", PERTURB.format("import os; os.kill(os.getppid(), 9)"))
    checkout.benchmark(matrix(attacks=["parricide", "noop"], defenses=["none", "guard"]))
    checkout.run(jobs=1)
    statuses = [find(checkout, attack="noop", defense=name).status for name in ("none", "guard")]
    assert statuses == ["ok", "ok"]
    assert find(checkout, attack="parricide", defense="none").status == "infra_error"
    assert checkout.processes() == []


# -- the command line -------------------------------------------------------------------------


def test_a_person_s_mistake_is_one_line_and_exit_code_1(everything):
    for arguments, text in (
        (("run", "nope"), "nope: no such benchmark"),
        (("run", "b", "--only", "attack"), "--only: cannot read 'attack'"),
        (("plan", "b", "--only", "attack=pgd"), "no cell of the plan matches"),
    ):
        done = everything[0].gauntlet(*arguments)
        assert done.returncode == 1, done
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        assert text in done.stderr


def test_wrong_usage_is_exit_code_2(everything):
    done = everything[0].gauntlet("run", "b", "--jobs", "many")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_bug_is_exit_code_3_with_a_traceback(everything):
    spoil = "import harness.commands.show as s; s.show = None; import harness.cli as c; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", spoil, "show", "x"],
        cwd=everything[0].root,
        env=everything[0].variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert "This is a bug in gauntlet" in done.stderr


def test_the_same_run_from_the_command_line(everything):
    done = everything[0].gauntlet("run", "b")
    assert done.returncode == 0, done.stderr
    assert "0 stages run" in done.stdout
    assert done.stderr == ""


def test_ctrl_c_ends_with_130_and_leaves_nothing_running(checkout):
    """The attack sleeps, so the signal comes while a stage runs; its child left the group."""
    flag = checkout.root / "running"
    body = f"""import os, time
        if not os.fork():
            os.setsid()
            time.sleep(600)
        open({str(flag)!r}, 'w').close()
        time.sleep(600)"""
    checkout.module("attack", "sleeper", PERTURB.format(body))
    checkout.benchmark(matrix(attacks=["noop", "sleeper"]))
    run = checkout.start("run", "b")
    try:
        limit = time.monotonic() + 60
        while not flag.exists():
            assert time.monotonic() < limit
            assert run.poll() is None
            time.sleep(0.05)
        assert len(checkout.processes()) >= 4  # the command, fork server, stage, its child
        run.send_signal(signal.SIGINT)
        said, _ = run.communicate(timeout=20)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 130, said
    assert "stopped; what was computed is kept" in said
    assert "Traceback" not in said
    assert checkout.processes() == []
    assert [path for path in checkout.leftovers() if "checkpoints" not in path] == []
    checkout.module("attack", "sleeper", PERTURB.format("return x"))
    checkout.run()
    assert {r.status for r in checkout.records().values() if "/m/" in r.id} == {"ok"}


# -- while it runs ----------------------------------------------------------------------------


def test_records_come_as_soon_as_they_can_and_equal_in_any_order(checkout, monkeypatch):
    """A kill loses no finished cell: its record is there before the last stage has ended."""
    before = checkout.results()
    shutil.rmtree(checkout.home)
    seen = []
    ended = Scheduler._ended

    def watched(self, job, result):
        ended(self, job, result)
        seen.append(len(list(records.walk(checkout.home / "records"))))

    monkeypatch.setattr(Scheduler, "_ended", watched)
    checkout.run(jobs=1)
    assert len(set(seen)) > 2
    assert seen == sorted(seen)
    assert {k: v for k, v in before.items() if k in checkout.records()} == checkout.results()


def test_receipts_say_what_a_stage_took(everything):
    checkout, _ = everything
    store = Store(checkout.home / "store")
    receipts = [store.receipt(key) for key in store.entries()]
    train = [r for r in receipts if r["kind"] == "train"]
    assert all(0 < r["hook_seconds"] <= r["seconds"] for r in train)
    assert all(r["exit_code"] == 0 for r in train)
    assert json.loads((checkout.home / "timings.json").read_text())
