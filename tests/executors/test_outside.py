"""What ends or holds up a stage from outside is no fault of a module, and is tried again.

And what a module can do to look like that stays the module's: see ``tests/traps/greedy.py``.
"""

import os
import signal
import threading
import time
from contextlib import closing

import pytest

from harness.executors import oom_kills
from harness.executors.docker import DockerExecutor
from harness.executors.images import Images
from harness.executors.local import LocalExecutor
from harness.executors.selfcheck.context import SelfCheckContext
from tests.support.containers import ours
from tests.support.workspaces import Checkout, matrix

LIMIT = 6.0
"""Seconds of a stage that is paused; one that does nothing takes a tenth of that."""
ASLEEP = 2.0
"""Seconds for which a stage sleeps while its container is interfered with."""
SLOW_ATTACK = """
class Attack:
    def perturb(self, model, x, y, goal, budget, ctx):
        import time
        model.predict(x)
        time.sleep(2)
        model.predict(x)
        return x
"""
"""Takes four seconds for two batches."""


@pytest.fixture
def context(tmp_path):
    with closing(Images.connect()) as images:
        with closing(SelfCheckContext(lambda: DockerExecutor(images), tmp_path)) as found:
            yield found
        assert ours() == []


def begun(role="learn"):
    """The container whose stage of that kind has begun: something runs in it beside process 1."""
    limit = time.monotonic() + 300
    while True:
        for one in ours():
            running = one.status == "running" and one.attrs["Config"]["Entrypoint"][-1] == role
            # process 1, a supervisor, and the stage, or a broker with the network
            if running and len(one.top()["Processes"]) >= 3:
                return one
        assert time.monotonic() < limit, "no stage has begun"
        time.sleep(0.05)


def kill_on_host(container):
    os.kill(container.attrs["State"]["Pid"], signal.SIGKILL)


def interrupt(container):
    """Ask for another signal, which process 1 ignores, and then for its end."""
    container.kill(signal="SIGINT")
    container.kill()


ENDS = {
    "docker kill": lambda container: container.kill(),
    "docker rm -f": lambda container: container.remove(force=True),
    "docker stop": lambda container: container.stop(timeout=0),
    "SIGINT, then docker kill": interrupt,
    "kill -9 on the host": kill_on_host,
}


@pytest.mark.engine
@pytest.mark.parametrize("name", ENDS)
def test_a_container_that_is_ended_from_outside(context, name):
    job = context.jobs.make("limits.sleeps", asleep=30.0)
    context.executor.start(job)
    ENDS[name](begun())
    (ended,) = context.finish(job, start=False)
    ended.expect("infra_error", "from outside")
    context.run("endings.fine").expect("ok")


@pytest.mark.engine
def test_an_idle_container_that_is_ended_from_outside(context):
    context.run("endings.fine").expect("ok")
    (idle,) = ours()
    idle.kill()
    idle.wait(condition="removed")
    context.run("endings.fine").expect("ok")


@pytest.mark.engine
def test_a_pause_within_the_limit_is_only_a_slow_machine(context):
    job = context.jobs.make("limits.sleeps", asleep=ASLEEP)
    context.executor.start(job)
    container = begun()
    container.pause()
    time.sleep(1)
    container.unpause()
    (ended,) = context.finish(job, start=False)
    ended.expect("ok")


@pytest.mark.engine
def test_a_pause_beyond_the_limit_that_comes_back(context):
    job = context.jobs.make("limits.sleeps", asleep=ASLEEP, seconds=LIMIT)
    context.executor.start(job)
    container = begun()
    container.pause()
    time.sleep(LIMIT + 1)
    container.unpause()
    (ended,) = context.finish(job, start=False)
    ended.expect("infra_error", "paused from outside", "limit of 6 s")
    context.run("limits.sleeps", asleep=60.0, seconds=1.0).expect("timeout")


@pytest.mark.engine
def test_a_pause_that_never_ends(context, monkeypatch):
    monkeypatch.setattr("harness.executors.container.GRACE_SECONDS", 2.0)
    job = context.jobs.make("limits.sleeps", asleep=ASLEEP, seconds=LIMIT)
    context.executor.start(job)
    begun().pause()
    (ended,) = context.finish(job, start=False)
    ended.expect("infra_error", "paused from outside")


# -- the network that answers an attack -----------------------------------------------------------


@pytest.fixture
def attack(context):
    """An attack beside its network, both at work: the job, and what finishes it."""
    job = context.jobs.with_network(
        context.jobs.make("limits.sleeps", asleep=ASLEEP, seconds=LIMIT)
    )
    context.executor.start(job)
    return job


@pytest.mark.engine
@pytest.mark.parametrize("role", ["network", "learn"])
@pytest.mark.parametrize("name", ["docker kill", "docker rm -f", "kill -9 on the host"])
def test_either_side_of_a_pair_is_ended_from_outside(context, attack, name, role):
    ENDS[name](begun(role))
    (ended,) = context.finish(attack, start=False)
    ended.expect("infra_error", "from outside")
    assert ended.result.by in (None, "harness")


@pytest.mark.engine
@pytest.mark.parametrize("role", ["network", "learn"])
def test_either_side_of_a_pair_is_paused(context, attack, role):
    container = begun(role)
    container.pause()
    timer = threading.Timer(LIMIT + 1, lambda: container.unpause())
    timer.start()
    (ended,) = context.finish(attack, start=False)
    timer.join()
    if role == "network":  # the attack asks it nothing
        ended.expect("ok")
    else:
        ended.expect("infra_error", "paused from outside")


# -- a whole run ----------------------------------------------------------------------------------


@pytest.mark.engine
@pytest.mark.parametrize("role", ["attack", "network"])
def test_a_run_tries_a_killed_stage_again_and_blames_no_module(tmp_path, role):
    checkout = Checkout(tmp_path)
    checkout.module("attack", "slow", SLOW_ATTACK)
    checkout.benchmark(matrix(attacks=["slow"]))
    killed = []

    def kill():
        container = begun(role)
        killed.append(container.id)
        container.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    done = checkout.run(executor="docker")
    thread.join()
    assert killed
    assert done.tally.failed == 0
    assert {record.status for record in checkout.records().values()} == {"ok"}
    assert ours() == []


@pytest.mark.engine
def test_a_network_that_is_paused_is_not_the_one_that_did_not_answer(tmp_path):
    checkout = Checkout(tmp_path)
    checkout.module("attack", "slow", SLOW_ATTACK, limits={"minutes": 0.25, "memory_gb": 4})
    checkout.benchmark(matrix(attacks=["slow"]))
    thread = threading.Thread(target=lambda: begun("attack") and begun("network").pause())
    thread.start()
    done = checkout.run(executor="docker")
    thread.join()
    assert done.tally.failed == 0
    assert {record.status for record in checkout.records().values()} == {"ok"}
    assert done.tally.seconds > 15, "nothing was paused"
    assert ours() == []


@pytest.mark.engine
def test_a_stage_that_is_killed_again_and_again_is_a_gap_of_the_harness(tmp_path):
    checkout = Checkout(tmp_path)
    checkout.module("attack", "slow", SLOW_ATTACK)
    checkout.benchmark(matrix(attacks=["slow"]))
    killed = []

    def kill():
        for _ in range(3):
            container = begun("attack")
            killed.append(container.id)
            container.kill()
            while container.id in [one.id for one in ours()]:
                time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    checkout.run(executor="docker")
    thread.join()
    (record,) = checkout.records().values()
    assert (record.status, record.by, record.stage) == ("infra_error", "harness", "attack")
    assert len(set(killed)) == 3
    checkout.run(executor="docker")  # and the next run tries it once more
    (record,) = checkout.records().values()
    assert record.status == "ok"


# -- without a container --------------------------------------------------------------------------


@pytest.mark.parametrize(("kills", "status"), [(0, "module_error"), (1, "infra_error")])
def test_a_local_stage_is_excused_only_if_the_machine_ran_out_of_memory(
    tmp_path, monkeypatch, kills, status
):
    counters = tmp_path / "vmstat"
    counters.write_text("oom_kill 7\n", encoding="ascii")
    monkeypatch.setattr(oom_kills, "COUNTERS", counters)
    with closing(SelfCheckContext(LocalExecutor, tmp_path / "check")) as context:
        job = context.jobs.make("endings.dies", number=9)
        context.executor.start(job)
        counters.write_text(f"oom_kill {7 + kills}\n", encoding="ascii")
        (ended,) = context.finish(job, start=False)
        ended.expect(status, "killed")
