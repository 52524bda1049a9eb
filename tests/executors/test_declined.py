"""Who declined a cell is found out without the modules that could have answered for the victim."""

import pytest

from harness.executors.base import Result, StageJob
from harness.executors.declined import DeclinedChecker, victim_alone
from tests.support.jobs import job_file


class Scripted:
    """Executor that ends each stage as its kind says."""

    name, contained = "scripted", True

    def __init__(self, **ends):
        self.ends, self.started, self.closed = ends, [], False

    def start(self, job):
        self.started.append(job)

    def wait(self, timeout):
        jobs, self.started = self.started, []
        return [(job, self.ends[job.file.stage]) for job in jobs]

    def leaked_processes(self):
        return ["one"]

    def close(self):
        self.closed = True


def declined(by=None):
    return Result("not_applicable", "not mine", 2.0, by=by, passes={"forward": 3})


BUILT = Result("ok", "", 0.1)
ALONE = Result("not_applicable", "no", 0.1, by="victim")
BROKEN = Result("module_error", "no", 0.1, by="victim")
BOTH = ("victim", "defense")


def job(tmp_path, roles, stage="train", service=None):
    return StageJob("k", tmp_path / "k", job_file(roles=roles, stage=stage), 9.0, 1.0, service)


def outcome(asked, executor):
    """What the checker reports in the end, and the stages that ran for it."""
    checker, ran = DeclinedChecker(executor), []
    checker.start(asked)
    while True:
        ran += [one.file.stage for one in executor.started]
        if ended := checker.wait(0.0):
            ((one, result),) = ended
            assert one is asked
            return result, ran


@pytest.mark.parametrize("claim", ["victim", "defense", None])
@pytest.mark.parametrize(
    ("alone", "by"), [(ALONE, "victim"), (BUILT, "defense"), (BROKEN, "defense")]
)
def test_the_victim_declines_only_where_it_does_so_alone(tmp_path, claim, alone, by):
    asked = job(tmp_path, BOTH)
    result, ran = outcome(asked, Scripted(train=declined(claim), applies=alone))
    assert ran == ["train", "applies"]
    assert (result.status, result.by, result.reason) == ("not_applicable", by, "not mine")
    assert result.passes == {"forward": 3}


def test_the_question_runs_no_other_code_and_grants_nothing(tmp_path):
    asked = job(tmp_path, (*BOTH, "adversary"))
    alone = victim_alone(asked, declined("victim"))
    assert alone.file.modules == {"victim": asked.file.modules["victim"]}
    assert alone.file.inputs == {}
    assert alone.key != asked.key
    assert alone.folder != asked.folder
    assert alone.service is None


@pytest.mark.parametrize(
    ("roles", "claim"),
    [(("victim",), "victim"), (("attack",), "attack"), (("attack", "victim"), "attack")],
)
def test_nobody_is_asked_where_no_one_else_can_have_answered(tmp_path, roles, claim):
    result, ran = outcome(job(tmp_path, roles), Scripted(train=declined(claim)))
    assert ran == ["train"]
    assert result.by == claim


@pytest.mark.parametrize("end", [BUILT, BROKEN, Result("contract_violation", "no", 1.0)])
def test_only_what_is_declined_is_asked_about(tmp_path, end):
    result, ran = outcome(job(tmp_path, BOTH), Scripted(train=end))
    assert (result, ran) == (end, ["train"])


def test_an_attack_that_speaks_for_its_victim_is_found_out(tmp_path):
    scripted = Scripted(poison=declined("victim"), applies=BUILT)
    result, _ = outcome(job(tmp_path, ("attack", "victim"), "poison"), scripted)
    assert result.by == "attack"


@pytest.mark.parametrize(("alone", "by"), [(ALONE, "victim"), (BUILT, "defense")])
def test_the_network_of_a_service_is_asked_about_too(tmp_path, alone, by):
    asked = job(tmp_path, ("attack",), "attack", service=job(tmp_path, BOTH, "any"))
    result, _ = outcome(asked, Scripted(attack=declined("victim"), applies=alone))
    assert result.by == by


def test_a_question_that_found_no_answer_is_asked_again(tmp_path):
    gone = Result("infra_error", "docker", 0.1)
    result, _ = outcome(job(tmp_path, BOTH), Scripted(train=declined(), applies=gone))
    assert result == gone


def test_all_else_is_the_executor_s(tmp_path):
    executor = Scripted()
    checker = DeclinedChecker(executor)
    assert (checker.name, checker.contained) == ("scripted", True)
    assert checker.leaked_processes() == ["one"]
    checker.close()
    assert executor.closed
