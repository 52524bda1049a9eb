"""Promises about limits: time, processes, memory and disk end where they should."""

from __future__ import annotations

import shutil

from harness.executors.selfcheck.context import (
    Rig,
    Seen,
    check,
    expect,
    expect_silence,
    wait_for_beats,
)

MEMORY = 0.6
"""GiB allowed where memory is tried; an idle stage holds about 0.2."""
COPIED = 1.2
"""GiB allowed where six children share 0.25 GiB and an idle stage's memory with their parent."""
GREED = 2.4
"""GiB asked for."""
SLACK = 3.0
"""Seconds after its limit in which a stage must be dead and reported."""
FILE_BYTES = 8 << 30
PROCESSES = 5000


def overdue(rig: Rig) -> dict[str, Seen]:
    """Four stages side by side: three that overstay, and a neighbour with time enough."""

    def run() -> dict[str, Seen]:
        limit = rig.deadline
        warmed(rig, 4)
        jobs = {
            "sleeper": rig.job("limits.sleeps", seconds=limit, asleep=60),
            "resister": rig.job("limits.resists", seconds=limit),
            "family": rig.job("limits.leaves", seconds=limit, alive=60),
            "neighbour": rig.job("limits.sleeps", asleep=limit + 0.7),
        }
        return dict(zip(jobs, rig.finish(*jobs.values()), strict=True))

    return rig.once("overdue", run)


def warmed(rig: Rig, stages: int) -> None:
    """Run as many trifles side by side: what an executor keeps warm is warm from here on."""
    rig.finish(*(rig.job("endings.fine") for _ in range(stages)))


def _stopped_in_time(rig: Rig, seen: Seen) -> None:
    seen.ended("timeout", "limit")
    took = seen.result.seconds
    expect(rig.deadline <= took <= rig.deadline + SLACK, f"stopped after {took:.1f} s")


@check
def deadline(rig: Rig) -> None:
    """The deadline stops a stage that sleeps."""
    _stopped_in_time(rig, overdue(rig)["sleeper"])


@check
def deadline_in_c(rig: Rig) -> None:
    """The deadline stops a busy loop that ignores signals, with a thread asleep in C."""
    _stopped_in_time(rig, overdue(rig)["resister"])


@check
def deadline_kills_descendants(rig: Rig) -> None:
    """The deadline kills a stage's children, and a daemon that left its process group."""
    seen = overdue(rig)["family"]
    _stopped_in_time(rig, seen)
    expect_silence(rig.executor, rig.checkpoint(seen.job))


@check
def neighbour_survives(rig: Rig) -> None:
    """A stage stopped at its deadline does not stop its neighbour."""
    seen = overdue(rig)["neighbour"]
    begun, ended = seen.report["begun"], seen.report["ended"]
    asleep = rig.deadline + 0.7
    expect(begun - ended >= asleep, f"it had {begun:.1f} s left, then {ended:.1f} s")


@check
def remaining_falls(rig: Rig) -> None:
    """``ctx.remaining()`` starts at the deadline and falls with the clock."""
    seen = overdue(rig)["neighbour"]
    begun, ended = seen.report["begun"], seen.report["ended"]
    slept = rig.deadline + 0.7
    fell = begun - ended
    fits = seen.job.seconds - 5 < begun <= seen.job.seconds and slept <= fell < slept + 2
    expect(fits, f"{begun:.2f} s, and {ended:.2f} s after {slept:.2f} s")


@check
def end_kills_descendants(rig: Rig) -> None:
    """A stage that ends well leaves no child and no daemon behind."""
    seen = rig.see("limits.leaves", alive=0.1)
    seen.ended("ok")
    expect_silence(rig.executor, rig.checkpoint(seen.job))


@check
def end_spares_neighbours(rig: Rig) -> None:
    """The end of one stage spares what a running neighbour detached."""
    warmed(rig, 2)
    family, brief = rig.job("limits.leaves", alive=rig.deadline), rig.job("endings.fine")
    rig.executor.start(family)
    wait_for_beats(rig.checkpoint(family))
    rig.finish(brief)
    size = {p: p.stat().st_size for p in rig.checkpoint(family).glob("*.beat")}
    rig.finish(family, start=False)
    dead = [p.name for p, before in size.items() if p.stat().st_size <= before]
    expect(not dead, f"killed with the neighbour: {', '.join(dead)}")


@check
def memory_limit(rig: Rig) -> None:
    """Memory beyond the limit is out_of_memory, and the reason says of which kind."""
    rig.see("limits.hoards", memory_gb=MEMORY, gigabytes=GREED).ended("out_of_memory", "host")


@check
def memory_of_children(rig: Rig) -> None:
    """Memory counts over all processes of a stage."""
    seen = rig.see("limits.hoards", memory_gb=MEMORY, gigabytes=GREED, spread=True)
    seen.ended("out_of_memory", "host")


@check
def memory_once(rig: Rig) -> None:
    """Memory that a stage's processes share since a fork counts once."""
    report = rig.report("limits.copies", memory_gb=COPIED, gigabytes=0.25, children=6)
    expect(report["bytes"] == 1 << 28, report)


@check
def memory_shared(rig: Rig) -> None:
    """Shared memory counts like any other."""
    rig.see("limits.shares", memory_gb=MEMORY, gigabytes=GREED).ended("out_of_memory", "host")


@check
def file_size(rig: Rig) -> None:
    """No file grows beyond 8 GiB."""
    report = rig.report("limits.outgrows", limit=FILE_BYTES)
    expect("refused" in report, "a byte beyond 8 GiB was written")


@check
def disk_limit(rig: Rig) -> None:
    """The disk space of a stage is limited."""
    half = shutil.disk_usage(rig.root).free // 2
    for folder in ("scratch", "out"):
        report = rig.report("limits.fills", folder=folder, size=half)
        expect("refused" in report, f"half the free disk ({half >> 30} GiB) was reserved")


@check
def shared_memory_limit(rig: Rig) -> None:
    """The size of /dev/shm is limited."""
    report = rig.report("limits.fills", folder="/dev/shm", size=8 << 30)  # noqa: S108
    expect("refused" in report, "8 GiB of shared memory were reserved")


@check
def process_limit(rig: Rig) -> None:
    """The number of a stage's processes is limited."""
    made = rig.report("limits.multiplies", limit=PROCESSES)["made"]
    expect(made < PROCESSES, f"{made} processes were made")
