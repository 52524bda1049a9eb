"""The service ends with no process of its network left, and with no file of theirs."""

import os
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from harness.runtime.contracts import Spec
from harness.runtime.worker.access import Access
from harness.runtime.worker.broker import Broker
from harness.runtime.worker.failures import NetworkFailed
from harness.runtime.worker.network_link import NetworkLink
from harness.runtime.worker.spawn import PR_SET_CHILD_SUBREAPER, prctl
from harness.runtime.worker.stages.network import kill_children, save

SPEC = Spec("classification", 2, (3,))


def in_child(test):
    """Run a function in a child that adopts orphans; return its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            prctl(PR_SET_CHILD_SUBREAPER, 1)
            code = test()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def leave_orphans(depth):
    """Fork a chain of processes, each in a session of its own and an orphan at once."""
    if os.fork() == 0:
        os.setsid()
        if depth:
            leave_orphans(depth - 1)
        if depth % 2:
            os._exit(0)
        time.sleep(60)
        os._exit(0)


def test_orphans_in_sessions_of_their_own_are_killed():
    def test():
        leave_orphans(5)
        time.sleep(0.1)
        kill_children()
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0
        return 1

    assert in_child(test) == 0


def test_nothing_is_saved_beside_a_process_that_cannot_be_killed(monkeypatch):
    monkeypatch.setattr(sys.modules[kill_children.__module__], "KILL_SECONDS", 0.05)
    monkeypatch.setattr("os.kill", lambda *_: None)

    def test():
        leave_orphans(0)
        try:
            kill_children()
        except NetworkFailed:
            return 0
        return 1

    assert in_child(test) == 0


@pytest.fixture
def job(tmp_path):
    return SimpleNamespace(out=tmp_path / "out")


def broker():
    made = Broker(NetworkLink(None, SPEC), SPEC, Access())
    made.shown, made.digests = [torch.zeros(1, 2)], [(0, 1, "")]
    return made


def test_files_of_the_networks_process_do_not_stay(job):
    (job.out / "goal").mkdir(parents=True)
    save(job, broker())
    assert [path.name for path in job.out.iterdir()] == ["shown"]


def test_a_folder_that_cannot_be_removed_ends_the_network(job, monkeypatch):
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    made = broker()
    made.breach = "the attack's"
    job.out.mkdir()
    with pytest.raises(NetworkFailed) as found:
        save(job, made)
    assert found.value.status == "contract_violation"
    assert job.breach == "the attack's"  # which is noted all the same
