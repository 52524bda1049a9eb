"""The self-check: the local executor keeps its promises, and a bad executor is found out."""

import os
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.commands.run import make_executor
from harness.executors.base import Result
from harness.executors.local import LocalExecutor, Stop
from harness.executors.selfcheck import context
from harness.executors.selfcheck import run as module
from harness.executors.selfcheck.context import SECRET
from harness.executors.selfcheck.errors import Inconclusive, PromiseBroken
from harness.executors.selfcheck.promise_check import PromiseCheck
from harness.executors.selfcheck.run import CHECKS, KNOWN, KnownException, selfcheck, try_check
from harness.executors.selfcheck.time_limit import time_limit
from tests.support.containers import ours

NAMES = [check.name for check in CHECKS]


@pytest.fixture
def temporary(monkeypatch):
    """A folder of its own for everything temporary, with a short path: sockets need one."""
    folder = Path(tempfile.mkdtemp(prefix="sc-"))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


def processes_naming(text):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text in path.read_text(errors="replace"):
                found.append(path)
        except OSError:
            continue
    return found


def test_local_keeps_its_promises_and_leaves_nothing(tmp_path, temporary):
    findings = list(selfcheck(LocalExecutor, tmp_path))
    assert [finding.check.name for finding in findings] == NAMES
    bad = [f"{f.check.name}: {f}" for f in findings if f.state in ("broken", "outdated")]
    assert not bad
    assert os.listdir(temporary) == []
    assert processes_naming(str(temporary)) == []
    assert SECRET not in os.environ


@pytest.mark.engine
def test_docker_keeps_every_promise_and_leaves_nothing(tmp_path):
    findings = list(selfcheck(partial(make_executor, "docker"), tmp_path))
    assert [finding.check.name for finding in findings] == NAMES
    bad = [f"{f.check.name}: {f}" for f in findings if f.state not in ("holds", "inconclusive")]
    assert not bad
    assert {f.check.name for f in findings if f.state == "inconclusive"} <= {"name-resolution"}
    assert ours() == []
    assert SECRET not in os.environ


class Idle:
    """Reports every stage as fine and runs none."""

    name, contained = "idle", False

    def __init__(self):
        self.waiting = []

    def start(self, job):
        self.waiting.append(job)

    def wait(self, timeout):
        done, self.waiting = self.waiting, []
        return [(job, Result("ok", "", 0.01, exit_code=0)) for job in done]

    def leaked_processes(self):
        return []

    def close(self):
        self.waiting.clear()


def test_an_executor_that_runs_nothing_keeps_no_promise(tmp_path, monkeypatch):
    monkeypatch.setattr(context, "PATIENCE", 0.2)
    states = {f.check.name: f.state for f in selfcheck(Idle, tmp_path)}
    assert [n for n in NAMES if states[n] == "holds"] == []
    assert {n for n in NAMES if states[n] == "inconclusive"} <= {"name-resolution"}


class Lost(Idle):
    def wait(self, timeout):
        return []


def test_an_executor_that_loses_stages_is_broken_not_awaited_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(context, "PATIENCE", -29.9)
    (finding,) = selfcheck(Lost, tmp_path, ["ends-well"])
    assert finding.state == "broken"
    assert "never reported" in finding.detail


class NoLimits(LocalExecutor):
    """The local executor with its limits taken out, all but a last one."""

    def _enforce(self):
        for process in self._processes():
            if process.pid and time.monotonic() - process.begun > 4:
                process.stop(Stop("infra_error", "given up"))


def test_missing_limits_are_found(tmp_path):
    wanted = ["deadline", "memory-limit"]
    found = {f.check.name: f for f in selfcheck(NoLimits, tmp_path, wanted)}
    assert found["deadline"].state == "broken"
    assert "given up" in found["deadline"].detail
    assert found["memory-limit"].state == "broken"


def test_names_and_promises_are_good_and_exceptions_name_checks():
    assert len(set(NAMES)) == len(NAMES) >= 50
    for check in CHECKS:
        assert len(check.promise) > 15
        assert "\n" not in check.promise
    for known in KNOWN.values():
        assert known.keys() <= set(NAMES)
        assert all(one.reason for one in known.values())


def checked(run, known=None):
    finding = try_check(PromiseCheck("name", "promise", run), None, known)
    return finding.state, str(finding)


def raiser(error):
    def run(context):
        raise error

    return run


def test_findings():
    def holds(context):
        return None

    known = KnownException("because")
    assert checked(holds) == ("holds", "holds")
    assert checked(raiser(PromiseBroken("seen"))) == ("broken", "BROKEN: seen")
    assert checked(raiser(PromiseBroken("seen")), known) == ("known", "known exception: because")
    assert checked(holds, known)[0] == "outdated"
    assert checked(holds, KnownException("because", certain=False))[0] == "holds"
    assert checked(raiser(Inconclusive("no way")))[1] == "cannot be tested here: no way"
    assert "the harness raised ValueError: oh" in checked(raiser(ValueError("oh")))[1]
    assert "not tested" in checked(raiser(SystemExit), KnownException("because", runs=False))[1]


def test_a_harness_that_hangs_is_interrupted():
    begun = time.monotonic()
    with pytest.raises(PromiseBroken, match="hung"), time_limit(0.2):
        time.sleep(10)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("run", "code"), [(lambda context: None, 0), (raiser(PromiseBroken("seen")), 1)]
)
def test_command(run, code, monkeypatch, tmp_path):
    monkeypatch.setenv("GAUNTLET_HOME", str(tmp_path))
    monkeypatch.setattr(module, "CHECKS", (PromiseCheck("one", "It stands", run),))
    result = CliRunner().invoke(app, ["selfcheck"])
    assert result.exit_code == code
    assert "It stands" in result.stdout
    assert ("1 BROKEN" if code else "1 hold") in result.stdout


def test_command_with_unknown_executor_is_a_persons_mistake(monkeypatch, tmp_path):
    monkeypatch.setenv("GAUNTLET_HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["selfcheck", "--executor", "nowhere"])
    assert "no executor 'nowhere'" in str(result.exception)
