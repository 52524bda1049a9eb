"""Whose memory ran out: the stage's, at its limit, or the machine's."""

import pytest

from harness.runtime.worker import cgroup, supervisor

LIMIT = 1 << 30
FILES = {
    1: ("memory/memory.oom_control", "memory/memory.max_usage_in_bytes",
        "memory/memory.limit_in_bytes"),
    2: ("memory.events", "memory.peak", "memory.max"),
}  # fmt: skip
"""Version of control groups → its files of kills, peak and limit."""


@pytest.fixture(params=FILES)
def write(tmp_path, monkeypatch, request):
    """Writes the files of a control group that has had some kills, and a peak of memory."""
    (tmp_path / "memory").mkdir()
    moved = {path: tmp_path / path.relative_to(cgroup.ROOT) for path in paths()}
    monkeypatch.setattr(cgroup, "KILLS", [moved[path] for path in cgroup.KILLS])
    monkeypatch.setattr(cgroup, "PEAKS", {moved[a]: moved[b] for a, b in cgroup.PEAKS.items()})

    def write(kills, peak, limit=str(LIMIT)):
        texts = (f"oom 3\noom_kill {kills}\n", f"{peak}\n", f"{limit}\n")
        for name, text in zip(FILES[request.param], texts, strict=True):
            (tmp_path / name).write_text(text, encoding="ascii")

    return write


def paths():
    return [*cgroup.KILLS, *cgroup.PEAKS, *cgroup.PEAKS.values()]


def stopped(write, kills, *memory):
    """The status that a supervisor gives a stage after these counts, which began with one kill."""
    write(1, 0)
    watcher = supervisor.Supervisor(None, supervisor.RunStage({}, 1.0, 2.0, 1000, None))
    watcher._signal = lambda number: None
    write(kills, *memory)
    watcher._sample_memory()
    return watcher._stopped and watcher._stopped[0]


@pytest.mark.parametrize(
    ("kills", "peak", "status"),
    [
        (1, LIMIT, None),
        (1, 5, None),
        (2, LIMIT, "out_of_memory"),
        (9, LIMIT - (4 << 20), "out_of_memory"),
        (2, LIMIT // 2, "infra_error"),
    ],
)
def test_a_kill_clear_of_the_limit_is_the_machine_s(write, kills, peak, status):
    assert stopped(write, kills, peak) == status


def test_without_figures_the_stage_stays_responsible(write, monkeypatch):
    assert stopped(write, 2, 5, "max") == "out_of_memory"
    monkeypatch.setattr(cgroup, "PEAKS", {})
    assert stopped(write, 2, 5) == "out_of_memory"
