"""Who ended a container: what the engine reports, and what follows from it."""

import json

import pytest

from harness.executors import oom_kills
from harness.executors.postmortem import Death, examine, verdict, was_paused

INTERRUPTED = 130
"""Exit code of process 1 after SIGINT, which a stage could send."""


class Engine:
    """An engine with these events of one container, which exists or not."""

    def __init__(self, *events, exists=False):
        self._events, self._exists = events, exists

    @property
    def containers(self):
        return self

    def list(self, **options):
        assert options["filters"] == {"id": "c"}
        return ["c"] if self._exists else []

    def events(self, since, until, filters, decode=False):
        assert since <= until
        assert filters["container"] == "c"
        for action, attributes in self._events:
            if action in filters["event"]:
                event = {"Action": action, "Actor": {"Attributes": attributes}}
                yield event if decode else json.dumps(event).encode()


def died(code):
    return "die", {"exitCode": str(code)}


KILL, OOM, DESTROY = ("kill", {"signal": "9"}), ("oom", {}), ("destroy", {})


@pytest.mark.parametrize(
    ("events", "machine_oom", "status"),
    [
        ([KILL, died(137), DESTROY], False, "infra_error"),  # docker kill, docker rm -f
        ([KILL, died(137), DESTROY], True, "infra_error"),  # … while another stage used too much
        ([("kill", {"signal": "2"}), died(INTERRUPTED), DESTROY], False, "infra_error"),
        ([KILL], False, "infra_error"),  # its end is not reported yet
        ([died(137), DESTROY], False, "infra_error"),  # kill -9 on the host
        ([], False, "infra_error"),  # the engine has forgotten it
        # what a stage can bring about
        ([died(0), DESTROY], False, None),  # it killed its supervisor
        ([died(1), DESTROY], True, None),
        ([died(INTERRUPTED), DESTROY], False, None),  # it interrupted process 1
        ([OOM, died(137), DESTROY], True, "out_of_memory"),  # the kernel killed process 1
        ([OOM, KILL, died(137), DESTROY], True, "out_of_memory"),
        ([died(137), DESTROY], True, "out_of_memory"),  # … and the engine lost the report
    ],
)
def test_only_what_no_stage_can_do_is_taken_for_outside(events, machine_oom, status):
    found = verdict(examine(Engine(*events), "c", 5.5, machine_oom=machine_oom), 2.0)
    assert (found and found[0]) == status


def test_a_container_that_still_runs_has_sent_what_it_may_not():
    found = examine(Engine(exists=True), "c", 5.5, machine_oom=False)
    assert found == Death()
    assert verdict(found, 2.0) is None


@pytest.mark.parametrize(("event", "paused"), [("pause", True), ("unpause", True), ("die", False)])
def test_a_pause_is_what_the_engine_says(event, paused):
    assert was_paused(Engine((event, {})), "c", 5.5) == paused


def test_the_kernel_s_count_is_that_of_the_machine(tmp_path, monkeypatch):
    assert oom_kills.count_oom_kills() >= 0
    path = tmp_path / "vmstat"
    monkeypatch.setattr(oom_kills, "COUNTERS", path)
    assert oom_kills.count_oom_kills() == 0
    path.write_text("oom_kill_x 7\npgfault 5\noom_kill 3\n", encoding="ascii")
    assert oom_kills.count_oom_kills() == 3
