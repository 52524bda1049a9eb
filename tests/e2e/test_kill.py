"""``kill -9`` at any moment, and two harnesses on one store: results are the undisturbed ones."""

import random
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from harness.results import record_tree
from harness.storage.store import Store
from tests.support.containers import ours
from tests.support.workspaces import BACKDOOR, QUERY, Checkout, matrix

KILLS = 6
KILLS_IN_CONTAINERS = 20
CONTAINED = [matrix(attacks=["noop", "sign"]), matrix("query", **QUERY)]
DRILL = [
    matrix(attacks=["noop", "sign"], defenses=["none", "repairer"], clean=40),
    matrix("query", **QUERY),
    matrix("backdoor", **BACKDOOR),
]


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The undisturbed run, in a process of its own."""
    checkout = Checkout(tmp_path_factory.mktemp("calm"))
    checkout.benchmark(*DRILL)
    done = checkout.gauntlet("run", "b", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert {r.status for r in checkout.records().values()} == {"ok"}
    return checkout


def progress(checkout):
    """Finished stages and recorded cells of a run that may be going on."""
    return sum(1 for _ in checkout.home.glob("store/[0-9a-f][0-9a-f]/*")) + sum(
        1 for _ in checkout.home.glob("records/*/*.json")
    )


def until(condition, what, seconds=60.0):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.002)


def killed(checkout, steps, moment=0.0, signal="kill"):
    """Start a run and kill it a moment after it has done this many more steps."""
    before = progress(checkout)
    run = checkout.start("run", "b", "--jobs", "2")
    until(lambda: progress(checkout) >= before + steps or run.poll() is not None, "no progress")
    time.sleep(moment)
    getattr(run, signal)()
    run.communicate()
    # nobody but the fork server sees that its harness is dead and ends its children
    until(lambda: not checkout.processes(), "processes outlive a killed harness", 10)


def check_whole(checkout):
    """No half entry and no half record: whatever is there is right."""
    store = Store(checkout.home / "store")
    for key in store.entries():
        assert store.verify(key)
    _, errors = record_tree.load_all(checkout.home / "records")
    assert not errors


@pytest.fixture
def temporary():
    """A folder whose name is short: names of sockets may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="g-") as folder:
        yield Path(folder)


@pytest.mark.xdist_group("kill")
def test_killed_at_any_moment_a_second_run_ends_in_the_same_results(calm, tmp_path, temporary):
    checkout = Checkout(tmp_path / "drill", temporary)
    checkout.benchmark(*DRILL)
    wanted, total = calm.results(), progress(calm)
    chance = random.Random(20)
    for k in range(KILLS):
        # one moment in each sixth of the run, the first of them before anything is done
        steps = max(0, round((k + chance.random()) / KILLS * total) - 3)
        shutil.rmtree(checkout.home, ignore_errors=True)
        killed(checkout, steps, moment=chance.uniform(0, 0.06))
        check_whole(checkout)
        had = progress(checkout)
        done = checkout.run()
        assert checkout.results() == wanted, f"killed after {steps} of {total} steps"
        assert done.tally.failed == 0
        # nothing is done again, but for intermediate artefacts that have a reader yet
        assert done.tally.stages + done.tally.records <= total - had + 8
        assert checkout.leftovers() == []
        assert checkout.processes() == []


@pytest.mark.xdist_group("kill")
def test_ended_again_and_again_it_still_gets_there(calm, tmp_path):
    """Each run is stopped while it works, and the next takes up what it has left."""
    checkout = Checkout(tmp_path / "again")
    checkout.benchmark(*DRILL)
    done = []
    for signal in ("kill", "terminate", "kill"):
        killed(checkout, 6, signal=signal)
        done.append(progress(checkout))
    assert done == sorted(set(done))
    checkout.run()
    assert checkout.results() == calm.results()
    assert checkout.leftovers() == []


@pytest.mark.xdist_group("kill")
def test_harnesses_on_one_store_do_not_disturb_each_other(calm, tmp_path):
    """Two work at once, a third is killed: nobody takes away what another is about to read."""
    checkout = Checkout(tmp_path / "three")
    checkout.benchmark(*DRILL)
    first, second, third = (checkout.start("run", "b", "--jobs", "1") for _ in range(3))
    until(lambda: progress(checkout) > 2, "no progress")
    first.kill()
    first.communicate()
    for run in (second, third):
        said, _ = run.communicate(timeout=120)
        assert run.returncode == 0, said
        assert " 0 failed" in said
    until(lambda: not checkout.processes(), "processes outlive a killed harness", 10)
    assert checkout.results() == calm.results()
    found, errors = record_tree.load_all(checkout.home / "records")
    assert not errors
    results = {(record.key, record.result) for record in found}
    assert len(results) == len({key for key, _ in results}), "one key, two results"
    check_whole(checkout)
    assert checkout.run().tally.stages == 0
    assert checkout.leftovers() == []


@pytest.fixture(scope="module")
def calm_contained(tmp_path_factory):
    """The undisturbed run in containers; the same cells as ``CONTAINED``."""
    checkout = Checkout(tmp_path_factory.mktemp("contained"))
    checkout.benchmark(*CONTAINED)
    done = checkout.run(executor="docker")
    assert done.tally.failed == 0
    assert {r.environment.executor for r in checkout.records().values()} == {"docker"}
    return checkout


@pytest.mark.engine
def test_killed_twenty_times_in_containers_it_gets_there_and_leaves_none(calm_contained, tmp_path):
    checkout = Checkout(tmp_path / "drill")
    checkout.benchmark(*CONTAINED)
    total, chance, cut = progress(calm_contained), random.Random(7), 0
    for _ in range(KILLS_IN_CONTAINERS):
        if progress(checkout) == total:
            shutil.rmtree(checkout.home)
        before = progress(checkout)
        run = checkout.start("run", "b", "--jobs", "2", "--executor", "docker")
        time.sleep(chance.uniform(1.0, 4.5))  # it takes one second to plan, two to have a container
        cut += run.poll() is None
        run.kill()
        run.communicate()
        check_whole(checkout)
        assert progress(checkout) >= before
    assert cut > KILLS_IN_CONTAINERS / 2
    done = checkout.run(executor="docker")
    assert done.tally.failed == 0
    assert checkout.results() == calm_contained.results()
    assert checkout.leftovers() == []
    assert ours() == []


@pytest.mark.engine
def test_two_harnesses_in_containers_share_a_store(calm_contained, tmp_path):
    checkout = Checkout(tmp_path / "two")
    checkout.benchmark(*CONTAINED)
    runs = [checkout.start("run", "b", "--jobs", "1", "--executor", "docker") for _ in range(2)]
    for run in runs:
        said, _ = run.communicate(timeout=180)
        assert run.returncode == 0, said
        assert " 0 failed" in said
    assert checkout.results() == calm_contained.results()
    check_whole(checkout)
    assert checkout.leftovers() == []
    assert ours() == []


@pytest.mark.engine
def test_containers_and_processes_of_this_machine_give_the_same_numbers(calm_contained, tmp_path):
    """Nothing but where it ran differs; the image holds the versions of the lock."""
    checkout = Checkout(tmp_path / "local")
    checkout.benchmark(*CONTAINED)
    checkout.run(executor="local")
    local, contained = checkout.records(), calm_contained.records()
    assert local.keys() == contained.keys()
    for cell, record in contained.items():
        for name, metric in record.metrics.items():
            here = local[cell].metrics[name].model_dump()
            assert metric.model_dump() == pytest.approx(here, abs=0.05), (cell, name)


@pytest.mark.engine
def test_a_contained_record_reproduces(calm_contained):
    cell = next(id for id in calm_contained.records() if "/sign/" in id)
    done = calm_contained.gauntlet("reproduce", cell)
    assert "reproduced exactly" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.engine
def test_ctrl_c_leaves_no_container(tmp_path):
    checkout = Checkout(tmp_path / "stopped")
    checkout.benchmark(*CONTAINED)
    run = checkout.start("run", "b", "--executor", "docker")
    until(lambda: ours(), "no container was started")
    time.sleep(1)
    run.send_signal(2)
    run.communicate(timeout=30)
    assert run.returncode == 130
    assert ours() == []
    assert checkout.leftovers() == []
