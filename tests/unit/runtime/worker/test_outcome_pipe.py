"""The pipe for an outcome never waits, whatever a module did to it."""

import contextlib
import fcntl
import json
import os
from dataclasses import asdict

import pytest

from harness.runtime.worker import outcome_pipe
from harness.runtime.worker.outcome_pipe import OUTCOME_BYTES, Outcome, collect, open_pipe, report


@pytest.fixture
def pipe(monkeypatch):
    read_end, write_end = open_pipe()
    monkeypatch.setattr(outcome_pipe, "OUTCOME", write_end)
    yield read_end, write_end
    os.close(write_end)


def test_an_outcome_arrives(pipe):
    sent = Outcome("module_error", "\u202e ü \ud800", passes={"forward": 1})
    report(sent)
    assert json.loads(collect(pipe[0])) == asdict(sent)


def test_nothing_is_waited_for(pipe):
    """The writing end is open here, as a process that escaped might hold it."""
    assert collect(pipe[0]) is None


def test_a_full_pipe_loses_the_outcome_and_no_time(pipe):
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe[1], b"x" * 4096)
    report(Outcome())
    assert set(collect(pipe[0])) == {"x"}


def test_no_more_is_read_than_an_outcome_may_have(pipe):
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4 * OUTCOME_BYTES)
    os.write(pipe[1], b"x" * 3 * OUTCOME_BYTES)
    assert len(collect(pipe[0])) == OUTCOME_BYTES


def test_a_closed_pipe_is_no_error(monkeypatch):
    read_end, write_end = open_pipe()
    monkeypatch.setattr(outcome_pipe, "OUTCOME", write_end)
    os.close(write_end)
    report(Outcome())
    assert collect(read_end) is None


def test_neither_end_is_inherited(pipe):
    assert not any(os.get_inheritable(end) for end in pipe)
    os.close(pipe[0])
