"""Later runs: only what has changed, is missing or is damaged runs again."""

import shutil

import numpy as np
import pytest

from harness.common.files import load_array
from harness.common.progress import Meter
from harness.executors.local import LocalExecutor
from harness.results import record_tree, records
from harness.running import scheduler
from harness.storage.store import Store
from tests.support.errors import raises_error
from tests.support.module_sources import PERTURB, SIGN
from tests.support.whole_run import find
from tests.support.workspaces import TRANSFER, Checkout, cell, kinds, matrix

pytestmark = pytest.mark.xdist_group("run")


def test_a_changed_attack_runs_only_its_own_stages(checkout):
    before = checkout.results()
    (checkout.root / "attacks" / "sign" / "attack.py").write_text(SIGN.replace("* g", "* 0.5 * g"))
    plan = checkout.plan()
    done = checkout.run()
    kept = {name: r for name, r in checkout.results().items() if before.get(name) == r}
    # per defence that plays: attack, measure and the prediction on its output
    assert done.tally.stages == 4 * 3
    assert done.tally.records == 4 * 2  # the attack's cells, and the ensembles that it is in
    assert {plan.cells[name].info.attack for name in kept if name in plan.cells} == {"noop"} | {
        c.info.attack for c in plan.cells.values() if c.info.defense == "sanitizer"
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
    assert done.tally.stages == 8
    assert len(checkout.records()) == 1


def test_keep_all_leaves_attacked_inputs_for_people(checkout):
    shutil.rmtree(checkout.home)
    checkout.run(only={"attack": {"sign"}, "defense": {"none"}}, keep_all=True)
    plan = checkout.plan()
    key = cell(plan, attack="sign", defense="none").stages["attack"]
    kept = Store(checkout.home / "store").part(key, "attacked") / "x.npy"
    assert load_array(kept).shape == (40, 1, 8, 8)


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
    for path in record_tree.walk(checkout.home / "records"):
        if records.read(path).id == one.id:
            path.unlink()
    done = checkout.run()
    # the prediction, and for it the training and the attack whose batch was passing
    assert done.tally.stages == 3
    assert checkout.results() == before


def test_a_corrupted_record_is_ignored_with_one_line_and_written_again(checkout):
    before, planned = checkout.results(), checkout.plan().cells
    walk = record_tree.walk(checkout.home / "records")
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

    def full(self, key, out, receipt, *, linked=False):
        nonlocal count
        count += 1
        if count > 6:
            raise OSError(28, "No space left on device")
        return commit(self, key, out, receipt, linked=linked)

    checkout.benchmark(matrix(attacks=["noop", "sign"]))
    monkeypatch.setattr(Store, "commit", full)
    with raises_error("run-on-a-full-disk", where="<tmp>/copy/.gauntlet"):
        checkout.run()
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


def test_a_failure_is_repeated_only_when_asked_and_a_new_cell_behind_it_is_blocked(checkout):
    flag = checkout.root / "broken"
    flag.touch()
    code = f"""
from pathlib import Path

from torch import nn

from harness.runtime.recipe import Recipe


class Moody:
    head, stages = "1", ()

    def build(self, spec):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, spec.outputs))

    def recipe(self, train):
        return Recipe(steps=1, batch=1, lr=0)

    def fit(self, network, train, val, loss, ctx, recipe=None):
        if Path({str(flag)!r}).exists():
            raise ValueError("not today")
"""
    checkout.module(
        "victim", "moody", code, hooks=["build", "recipe", "fit"], entry="victim.py:Moody"
    )
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
