"""The command line in a process of its own: exit codes, messages, Ctrl-C."""

import signal
import subprocess
import sys
import time

import pytest

from tests.support.module_sources import PERTURB
from tests.support.workspaces import matrix

pytestmark = pytest.mark.xdist_group("run")


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
    assert "stopped; finished stages are kept" in said
    assert "Traceback" not in said
    assert checkout.processes() == []
    assert [path for path in checkout.leftovers() if "checkpoints" not in path] == []
    checkout.module("attack", "sleeper", PERTURB.format("return x"))
    checkout.run()
    assert {r.status for r in checkout.records().values() if "/m/" in r.id} == {"ok"}
