"""An attack and its service: of what each end says, what becomes of the attack's result."""

import json
from dataclasses import asdict, replace

import pytest

from harness.executors.base import Result, StageJob
from harness.executors.service import ServiceEnd, combine, ended_badly, patience, service_end
from harness.runtime.worker.outcome_pipe import Outcome
from tests.support.jobs import job_file

FINE = Result("ok", "", 3.0, peak_memory=5, exit_code=0)
COUNTED = Result("ok", "", 3.0, peak_memory=7, passes={"forward": 9}, refused_queries=2)


@pytest.fixture
def job(tmp_path):
    service = StageJob("s", tmp_path / "s", job_file(roles=("victim", "defense")), 60.0, 1.0)
    return StageJob("k", tmp_path, job_file(roles=("attack",)), 60.0, 1.0, service)


def failed(status, reason="no", by=None):
    return replace(COUNTED, status=status, reason=reason, by=by)


ATTACKS = {
    "fine": FINE,
    "raised": Result("module_error", "broken pipe", 3.0, by="attack"),
    "late": Result("timeout", "stopped", 60.0),
    "declined": Result("not_applicable", "not mine", 3.0, by="victim"),
}
SERVICES = {
    "fine": ServiceEnd(COUNTED),
    "owes-little": ServiceEnd(COUNTED, waiting=5.9),
    "owes-much": ServiceEnd(COUNTED, waiting=6.0),
    "many-graphs": ServiceEnd(COUNTED, graphs=1000),
    "breach": ServiceEnd(COUNTED, breach="it cheated"),
    "breach-and-failed": ServiceEnd(failed("module_error"), breach="it cheated"),
    "raised": ServiceEnd(failed("module_error", by="victim")),
    "died": ServiceEnd(failed("module_error", "killed by SIGKILL")),
    "full": ServiceEnd(failed("out_of_memory", "host memory"), graphs=2),
    "filled": ServiceEnd(failed("out_of_memory", "host memory"), graphs=3),
    "declined": ServiceEnd(failed("not_applicable", by="defense")),
    "engine": ServiceEnd(failed("infra_error", "docker")),
}
BREACH = ("contract_violation", "attack", "it cheated")


@pytest.mark.parametrize(
    ("attack", "service", "end"),
    [
        ("fine", "fine", ("ok", None, "")),
        ("fine", "owes-much", ("ok", None, "")),
        ("fine", "many-graphs", ("ok", None, "")),
        ("fine", "breach", BREACH),
        ("raised", "breach", BREACH),
        ("late", "breach", BREACH),
        ("declined", "breach", BREACH),
        ("fine", "breach-and-failed", BREACH),
        ("raised", "fine", ("module_error", "attack", "broken pipe")),
        ("late", "fine", ("timeout", None, "stopped")),
        ("late", "owes-little", ("timeout", None, "stopped")),
        ("late", "owes-much", ("timeout", "defense", "the network did not answer for 6.0 s")),
        ("late", "raised", ("module_error", "victim", "in the network: no")),
        ("fine", "raised", ("module_error", "victim", "in the network: no")),
        ("raised", "raised", ("module_error", "victim", "in the network: no")),
        ("raised", "died", ("module_error", "defense", "in the network: killed by SIGKILL")),
        ("raised", "full", ("out_of_memory", "defense", "in the network: host memory")),
        (
            "raised",
            "filled",
            ("out_of_memory", "attack", "the attack had it hold 3 batches at once"),
        ),
        ("raised", "declined", ("not_applicable", "defense", "in the network: no")),
        ("raised", "engine", ("infra_error", "harness", "in the network: docker")),
        ("declined", "fine", ("not_applicable", "attack", "not mine")),
    ],
)
def test_the_side_that_caused_it_is_named(job, attack, service, end):
    result = combine(job, ATTACKS[attack], SERVICES[service])
    assert (result.status, result.by) == end[:2]
    assert result.reason.startswith(end[2])


def test_costs_are_those_that_the_service_counted(job):
    claimed = replace(FINE, passes={"forward": 1}, refused_queries=0, device_memory=None)
    result = combine(job, claimed, ServiceEnd(replace(COUNTED, device_memory=4)))
    assert (result.passes, result.refused_queries) == ({"forward": 9}, 2)
    assert (result.peak_memory, result.device_memory, result.exit_code) == (7, 4, 0)


def test_figures_on_gradients_are_those_of_the_service(job):
    claimed = replace(FINE, health={"gradient_gain": 99.0})
    served = replace(COUNTED, health={"gradient_gain": 1.0})
    assert combine(job, claimed, ServiceEnd(served)).health == {"gradient_gain": 1.0}


@pytest.mark.parametrize(
    ("served", "end"),
    [
        (ServiceEnd(failed("module_error", by="defense")), ("module_error", "defense")),
        (ServiceEnd(failed("module_error")), ("module_error", "defense")),
        (ServiceEnd(COUNTED, breach="it cheated"), ("contract_violation", "harness")),
        (ServiceEnd(failed("out_of_memory"), graphs=40), ("out_of_memory", "harness")),
    ],
)
def test_a_probe_fails_by_its_network_or_by_us_and_never_by_an_attack(job, served, end):
    probe = replace(job, file=job_file(roles=(), stage="probe"))
    result = combine(probe, FINE, served)
    assert (result.status, result.by) == end


def test_a_service_that_was_stopped_has_reported_all_the_same():
    stopped = failed("out_of_memory")
    text = json.dumps(asdict(Outcome(breach="b", waiting=2.5, graphs=4)))
    assert service_end(stopped, text, asked=False) == ServiceEnd(stopped, "b", 2.5, 4)
    for nothing in (None, "", "{}"):
        assert service_end(stopped, nothing, asked=True) == ServiceEnd(stopped)


@pytest.mark.parametrize("asked", [True, False])
def test_a_service_ends_when_it_is_asked_to(asked):
    """Code beside a broker could send it the signal, and its attack would look like the culprit."""
    served = service_end(COUNTED, json.dumps(asdict(Outcome())), asked=asked)
    assert ended_badly(served) == (not asked)


def test_an_attack_goes_on_when_it_has_left_its_service():
    assert not ended_badly(ServiceEnd(COUNTED))
    assert ended_badly(ServiceEnd(COUNTED, breach="it cheated"))
    assert ended_badly(ServiceEnd(failed("module_error")))


@pytest.mark.parametrize("seconds", [0.1, 1, 1.8, 10, 60, 1800, 10**5])
def test_no_honest_wait_is_a_hang(seconds):
    assert patience(seconds) <= seconds / 2
    assert patience(seconds) >= min(2.0, seconds / 2)
