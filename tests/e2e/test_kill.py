"""``kill -9`` at any moment, and two harnesses on one store: every result is the undisturbed one."""

import os
import random
import shutil
import signal
import time
from collections import Counter

import pytest

from harness import records
from harness.store import Store
from tests.workspaces import BACKDOOR, QUERY, Checkout, matrix

pytestmark = pytest.mark.xdist_group("kill")

KILLS = 6
DRILL = [
    matrix(attacks=["noop", "sign"], defenses=["none", "guard", "repairer"], clean=40, seeds=[0, 1]),
    matrix("query", **QUERY),
    matrix("backdoor", **BACKDOOR),
]


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The undisturbed run in a process of its own: its results, and how long it took."""
    checkout = Checkout(tmp_path_factory.mktemp("calm"))
    checkout.benchmark(*DRILL)
    begun = time.monotonic()
    done = checkout.gauntlet("run", "b", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert {r["status"] for r in checkout.records().values()} == {"ok"}
    return checkout, time.monotonic() - begun


def gone(checkout):
    """Wait for the fork server to see that its harness is dead; nothing else ends its children."""
    limit = time.monotonic() + 10
    while checkout.processes():
        assert time.monotonic() < limit, "processes outlive a killed harness"
        time.sleep(0.02)


def check_whole(checkout):
    """No half entry and no half record: whatever is there is right."""
    store = Store(checkout.home / "store")
    for key in store.entries():
        assert store.verify(key)
    _, errors = records.load_all(checkout.home / "records")
    assert not errors


def test_killed_at_any_moment_a_second_run_ends_in_the_same_results(calm, tmp_path):
    checkout = Checkout(tmp_path / "drill")
    checkout.benchmark(*DRILL)
    wanted, whole = calm[0].results(), calm[1]
    chance = random.Random(20)  # noqa: S311 - moments, the same in every run
    saved = Counter()
    for part in sorted(chance.uniform(0.1, 0.95) for _ in range(KILLS)):
        shutil.rmtree(checkout.home, ignore_errors=True)
        run = checkout.start("run", "b", "--jobs", "2")
        time.sleep(part * whole)
        run.kill()
        run.communicate()
        gone(checkout)
        check_whole(checkout)
        saved["records"] += len(checkout.records())
        done = checkout.run()
        saved["stages"] += done.tally.stages
        assert checkout.results() == wanted, f"killed after {part:.0%} of {whole:.1f} s"
        assert done.tally.failed == 0
        assert checkout.leftovers() == []
        assert checkout.processes() == []
    assert saved["records"] > 0, "no kill came late enough to find a record"
    stages = len(checkout.plan().graph.stages)
    assert saved["stages"] < KILLS * stages, "no run took up what a killed one had made"


def test_killed_again_and_again_it_still_gets_there(calm, tmp_path):
    """Each run is killed while it works; what one has finished the next does not do again."""
    checkout = Checkout(tmp_path / "again")
    checkout.benchmark(*DRILL)
    done = []
    for _ in range(3):
        run = checkout.start("run", "b", "--jobs", "2")
        store = checkout.home / "store"
        before = len(list(store.glob("??/*")))
        limit = time.monotonic() + 60
        while len(list(store.glob("??/*"))) < before + 5 and run.poll() is None:
            assert time.monotonic() < limit
            time.sleep(0.01)
        run.kill()
        run.communicate()
        gone(checkout)
        done.append(len(list(store.glob("??/*"))))
    assert done == sorted(set(done))
    checkout.run()
    assert checkout.results() == calm[0].results()
    assert checkout.leftovers() == []


def test_sigterm_leaves_nothing_running(calm, tmp_path):
    checkout = Checkout(tmp_path / "term")
    checkout.benchmark(*DRILL)
    run = checkout.start("run", "b")
    while len(checkout.processes()) < 3 and run.poll() is None:
        time.sleep(0.01)
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=20)
    gone(checkout)


def test_two_harnesses_on_one_store_both_finish_with_equal_results(calm, tmp_path):
    """Neither takes away what the other is about to read."""
    checkout = Checkout(tmp_path / "two")
    checkout.benchmark(*DRILL)
    runs = [checkout.start("run", "b", "--jobs", "1") for _ in range(2)]
    for run in runs:
        said, _ = run.communicate(timeout=120)
        assert run.returncode == 0, said
        assert " 0 failed" in said
    assert checkout.results() == calm[0].results()
    found, errors = records.load_all(checkout.home / "records")
    assert not errors
    results = {(r["key"], r["result"]) for r in found}
    assert len(results) == len({key for key, _ in results}), "one key, two results"
    assert [path for path in checkout.leftovers() if "checkpoints" not in path] == []
    assert checkout.processes() == []
    check_whole(checkout)


def test_a_killed_harness_does_not_take_a_living_one_s_work_away(calm, tmp_path):
    """The second sweeps what the first left, and not what the third is using."""
    checkout = Checkout(tmp_path / "three")
    checkout.benchmark(*DRILL)
    work = checkout.home / "work"
    first, second = (checkout.start("run", "b", "--jobs", "1") for _ in range(2))
    while len(list(work.glob("*.lock"))) < 2:
        assert first.poll() is None
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    third = checkout.start("run", "b", "--jobs", "1")
    for run in (second, third):
        said, _ = run.communicate(timeout=120)
        assert run.returncode == 0, said
        assert " 0 failed" in said
    assert checkout.results() == calm[0].results()
    gone(checkout)
