"""What a stage left behind is read as a stranger's."""

import json
import os

import pytest

from harness.common.text import one_line
from harness.executors.base import Result, StageJob
from harness.executors.blame import ANSWERS, responsible
from harness.executors.outcome import (
    open_plain,
    oracle_failure,
    read_outcome,
    sanitize,
    signal_name,
)
from harness.runtime.worker.output_files import DEPTH, find_irregular_file
from harness.runtime.worker.stages import STAGES
from tests.support.jobs import job_file

HONEST = {
    "status": "ok",
    "reason": "",
    "hook_seconds": 0.5,
    "passes": {"forward": 3},
    "device_memory": None,
}


@pytest.fixture
def job(tmp_path):
    (tmp_path / "out").mkdir()
    return StageJob("k", tmp_path, job_file(roles=("victim", "defense")), 1.0, 1.0)


def ended(job, text, code=0, refused=""):
    (job.folder / "outcome.json").write_text(text)
    return read_outcome(job, code, 0, 2.0, 7, refused)


def test_an_honest_outcome_is_taken_over(job):
    result = ended(job, json.dumps(HONEST))
    assert (result.status, result.hook_seconds, result.passes) == ("ok", 0.5, {"forward": 3})
    assert (result.seconds, result.peak_memory, result.exit_code) == (2.0, 7, 0)


@pytest.mark.parametrize(
    ("claim", "by"),
    [
        ({}, None),
        ({"by": None}, None),
        ({"by": "victim"}, "victim"),
        ({"by": "defense"}, "defense"),
        ({"by": "attack"}, None),  # takes no part in the stage
        ({"by": "rule"}, None),
        ({"by": "harness"}, None),
        ({"by": "nobody"}, None),
        ({"by": ["victim"]}, None),
    ],
)
def test_who_is_to_blame_is_believed_of_roles_that_take_part(job, claim, by):
    failed = HONEST | {"status": "not_applicable", "reason": "no"} | claim
    result = ended(job, json.dumps(failed), 99)
    assert (result.status, result.by) == ("not_applicable", by)


@pytest.mark.parametrize("lie", [{"status": "ok"}, {"status": "module_error"}])
def test_a_contradicted_outcome_accuses_nobody(job, lie):
    assert ended(job, json.dumps(HONEST | lie | {"by": "victim"}), 99).by is None


BOTH = ("victim", "defense")


@pytest.mark.parametrize(
    ("kind", "roles", "by"),
    [
        ("train", ("victim",), "victim"),
        ("train", BOTH, "defense"),
        ("train", (*BOTH, "adversary"), "defense"),
        ("sanitize", BOTH, "defense"),
        ("repair", BOTH, "defense"),
        ("predict", ("victim",), "victim"),
        ("predict", BOTH, "defense"),
        ("oracle", BOTH, "defense"),
        ("attack", (*BOTH, "attack"), "attack"),
        ("learn", (*BOTH, "attack"), "attack"),
        ("poison", ("attack",), "attack"),
        ("deliver", ("victim", "attack"), "attack"),
        ("import", ("victim",), "victim"),
        ("public", ("victim",), "victim"),
        ("data", (), "harness"),
    ],
)
def test_an_ending_that_names_no_role_is_put_down_to_its_kind_of_stage(kind, roles, by):
    assert responsible(kind, roles, "timeout", None) == by
    assert responsible(kind, roles, "infra_error", None) == "harness"
    assert responsible(kind, roles, "module_error", "victim") == "victim"


def test_every_stage_with_modules_is_in_the_table():
    assert {*STAGES} - {"device"} == {*ANSWERS}


def test_an_oracle_answers_for_itself(job):
    assert oracle_failure(job, Result("timeout", "late", 1.0))[2] == "defense"
    assert oracle_failure(job, Result("module_error", "no", 1.0, by="victim"))[2] == "victim"
    assert oracle_failure(job, Result("ok", "", 1.0))[::2] == ("infra_error", "harness")


def test_a_hook_takes_no_longer_than_its_stage(job):
    assert ended(job, json.dumps(HONEST | {"hook_seconds": 1e9})).hook_seconds == 2.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": 3},
        {"reason": None},
        {"hook_seconds": float("nan")},
        {"hook_seconds": -1},
        {"hook_seconds": 10**400},
        {"hook_seconds": "0.1"},
        {"passes": [1]},
        {"passes": {"forward": 1.5}},
        {"passes": {"forward": -1}},
        {"passes": {"forward": True}},
        {"passes": {"forward": 1 << 63}},
        {"passes": {"\x1b[31m": 1}},
        {"device_memory": "much"},
        {"device_memory": -1},
    ],
)
def test_an_outcome_with_a_wrong_field_is_none(job, wrong):
    result = ended(job, json.dumps(HONEST | wrong))
    assert result.status == "module_error"
    assert "left no outcome" in result.reason


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"status": "ok"}'])
def test_what_is_no_outcome_is_none(job, text):
    assert ended(job, text).status == "module_error"


def test_code_and_outcome_must_agree(job):
    assert ended(job, json.dumps(HONEST), code=1).status == "contract_violation"
    assert ended(job, json.dumps(HONEST | {"status": "timeout"})).status == "contract_violation"


def test_refused_output_makes_a_success_a_violation_and_nothing_else(job):
    assert ended(job, json.dumps(HONEST), refused="a link").status == "contract_violation"
    failed = HONEST | {"status": "module_error", "reason": "broke"}
    assert ended(job, json.dumps(failed), code=11, refused="a link").reason == "broke"


def test_plain_files_only(tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "fifo")
    with open_plain(tmp_path / "file") as file:
        assert file.read() == b"text"
    for name in ("link", "fifo", "nothing", "."):
        with pytest.raises(OSError, match=r"symbolic links|plain file|No such file"):
            open_plain(tmp_path / name)


def deep(folder, levels):
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        there = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)


def test_good_output_is_left_alone(job):
    (job.folder / "out" / "a" / "b").mkdir(parents=True)
    (job.folder / "out" / "a" / "b" / "x.npy").touch()
    (job.folder / "scratch").mkdir()
    assert sanitize(job.folder) == ""
    assert (job.folder / "out" / "a" / "b" / "x.npy").is_file()
    assert not (job.folder / "scratch").exists()
    assert sanitize(job.folder / "never made") == ""


def test_strange_output_is_named_and_emptied(job):
    out = job.folder / "out"

    def link():
        (out / "l\nk").symlink_to("/etc/passwd")

    def fifo():
        os.mkfifo(out / "fifo")

    def hard_link():
        (out / "one").touch()
        os.link(out / "one", out / "two")

    def depth():
        deep(out / "deep", DEPTH + 1)

    def replaced():
        out.rmdir()
        out.symlink_to("/etc")

    for make in (link, fifo, hard_link, depth, replaced):
        make()
        refused = sanitize(job.folder)
        assert refused.startswith("the output"), make
        assert refused.isprintable()
        assert out.is_dir()
        assert not out.is_symlink()
        assert os.listdir(out) == []


def test_strange_outcome_and_log_are_removed(job):
    os.mkfifo(job.folder / "outcome.json")
    (job.folder / "log.txt").symlink_to("/etc/passwd")
    sanitize(job.folder)
    assert os.listdir(job.folder) == ["out"]


def test_output_that_is_not_there_is_not_irregular(tmp_path):
    assert find_irregular_file(tmp_path / "nothing") == ""


def test_signals_have_names():
    assert signal_name(9) == "SIGKILL"
    assert signal_name(40) == "signal 40"


def test_one_line_is_short_and_printable():
    line = one_line("\x1b[31mred\x07 \udcff\u202e\r\nmore" + "x" * 10_000_000)
    assert line.isprintable()
    assert len(line) <= 500
    line.encode("utf-8")
