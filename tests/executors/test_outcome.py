"""What a stage left behind is read as a stranger's."""

import json
import os
from dataclasses import asdict, replace

import pytest

from harness.common.text import one_line
from harness.executors.base import StageJob
from harness.executors.blame import ANSWERS, responsible
from harness.executors.outcome import (
    CLAIMED,
    ProcessEnd,
    copy_tail,
    open_plain,
    read_claim,
    read_outcome,
    sanitize,
    save_log,
    signal_name,
)
from harness.runtime.worker.outcome_pipe import OUTCOME_BYTES, Outcome
from harness.runtime.worker.output_files import DEPTH, find_irregular_file
from harness.runtime.worker.stages import STAGES
from tests.support.jobs import job_file

HONEST = asdict(Outcome(hook_seconds=0.5, passes={"forward": 3}))
SERVICES = {"oracle", "network"}
"""Stages that answer an attack; they have one row in the table of blame."""


@pytest.fixture
def job(tmp_path):
    (tmp_path / "out").mkdir()
    return StageJob("k", tmp_path, job_file(roles=("victim", "defense")), 1.0, 1.0)


def ended(job, text, code=0, refused="", number=0):
    return read_outcome(job, ProcessEnd(code, number, text), 2.0, 7, refused)


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
    result = ended(job, json.dumps(failed), 1)
    assert (result.status, result.by) == ("not_applicable", by)


@pytest.mark.parametrize(
    ("status", "code"), [("ok", 99), ("ok", 1), ("not_applicable", 0), ("timeout", 1), ("", 1)]
)
def test_a_contradicted_outcome_is_a_violation_and_accuses_nobody(job, status, code):
    result = ended(job, json.dumps(HONEST | {"status": status, "by": "victim"}), code)
    assert (result.status, result.by) == ("contract_violation", None)
    assert f"exit code {code} contradicts its outcome, which claims {status!r}" in result.reason


@pytest.mark.parametrize("status", CLAIMED)
def test_what_a_stage_can_know_it_may_claim(job, status):
    result = ended(job, json.dumps(HONEST | {"status": status}), 0 if status == "ok" else 1)
    assert result.status == status


def test_no_exit_code_says_anything_without_an_outcome(job):
    for code in (0, 1, 10, 14, 99):
        result = ended(job, None, code)
        assert (result.status, result.by, result.exit_code) == ("module_error", None, code)
        assert f"ended with exit code {code} and reported no outcome" in result.reason


def test_an_outcome_file_of_a_module_is_not_read(job):
    (job.folder / "outcome.json").write_text(json.dumps(HONEST | {"status": "not_applicable"}))
    assert ended(job, None, 99).status == "module_error"


def test_no_outcome_outlives_a_signal(job):
    result = ended(job, json.dumps(HONEST), number=9)
    assert (result.status, result.reason) == ("module_error", "killed by SIGKILL")
    assert result.exit_code == -9


def test_refused_queries_are_no_passes(job):
    counted = {"forward": 3, "refused": 2, "shown": 4}
    result = ended(job, json.dumps(HONEST | {"passes": counted}))
    assert (result.passes, result.refused_queries) == ({"forward": 3, "shown": 4}, 2)
    assert ended(job, json.dumps(HONEST)).refused_queries is None


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
        ("service", BOTH, "defense"),
        ("applies", ("victim",), "victim"),
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
    assert {*STAGES} - {"device"} - SERVICES == {*ANSWERS} - {"service"}
    assert SERVICES & {*STAGES}


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
        {"breach": None},
        {"waiting": "long"},
        {"waiting": -1},
        {"waiting": float("inf")},
        {"graphs": 1.5},
        {"graphs": -1},
        {"graphs": True},
        {"health": [1.0]},
        {"health": {"robust": 1.0}},
        {"health": {"gradient_gain": "1"}},
        {"health": {"gradient_gain": True}},
        {"health": {"gradient_gain": float("nan")}},
        {"health": {"gradient_gain": float("inf")}},
        {"health": {"gradient_gain": 10**400}},
    ],
)
def test_an_outcome_with_a_wrong_field_is_none(job, wrong):
    result = ended(job, json.dumps(HONEST | wrong))
    assert result.status == "module_error"
    assert "reported no outcome" in result.reason


def test_figures_on_gradients_are_taken_over(job):
    figures = {"gradient_gain": -3.5, "backward_passes": 20}
    assert ended(job, json.dumps(HONEST | {"health": figures})).health == figures
    assert ended(job, json.dumps(HONEST)).health == {}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", "[" * 100_000, '{"status": "ok"}', 2 * json.dumps(HONEST)],
)
def test_what_is_no_outcome_is_none(job, text):
    assert ended(job, text).status == "module_error"


def test_the_longest_outcome_fits_in_the_pipe():
    longest = Outcome("module_error", 400 * "\U0001f600", breach=400 * "\U0001f600")
    assert len(json.dumps(asdict(longest))) < OUTCOME_BYTES / 4


def test_a_breach_is_one_printable_line():
    claim = read_claim(json.dumps(HONEST | {"breach": "a\n\x1b[31m" + "x" * 10**4}))
    assert claim.breach.isprintable()
    assert len(claim.breach) <= 500


def test_refused_output_makes_a_success_a_violation_and_nothing_else(job):
    assert ended(job, json.dumps(HONEST), refused="a link").status == "contract_violation"
    failed = HONEST | {"status": "module_error", "reason": "broke"}
    assert ended(job, json.dumps(failed), code=1, refused="a link").reason == "broke"


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


def test_a_strange_log_is_removed(job):
    (job.folder / "log.txt").symlink_to("/etc/passwd")
    sanitize(job.folder)
    assert os.listdir(job.folder) == ["out"]


def test_the_log_of_a_service_follows_that_of_its_attack(job, tmp_path):
    service = StageJob("s", tmp_path / "s", job.file, 1.0, 1.0)
    pair, target = replace(job, service=service), tmp_path / "saved.txt"
    save_log(pair, target)
    assert not target.exists()
    service.folder.mkdir()
    (service.folder / "log.txt").write_text("in the network\n")
    save_log(pair, target)
    assert target.read_text() == "\n… log of the network …\nin the network\n"
    (job.folder / "log.txt").write_text("asked\n")
    save_log(pair, target)
    assert target.read_text() == "asked\n\n… log of the network …\nin the network\n"
    save_log(job, target)
    assert target.read_text() == "asked\n"


def test_a_long_log_keeps_its_ends(tmp_path):
    (tmp_path / "log.txt").write_text("a" * 10 + "b" * 30 + "c" * 10)
    copy_tail(tmp_path / "log.txt", tmp_path / "kept", limit=10)
    assert (tmp_path / "kept").read_text() == f"{'a' * 10}\n… 30 bytes left out …\n{'c' * 10}"


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
