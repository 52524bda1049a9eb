"""Promises about limits of time, processes, memory and disk."""

from __future__ import annotations

import shutil

from harness.executors.selfcheck.context import (
    EndedStage,
    SelfCheckContext,
    expect_no_processes,
    wait_for_beats,
)
from harness.executors.selfcheck.errors import expect
from harness.executors.selfcheck.probe_jobs import checkpoint_of
from harness.executors.selfcheck.promise_check import promise

MEMORY = 0.6
"""Limit in GiB of the memory checks; an idle stage uses about 0.2."""
COPIED = 1.2
"""Limit in GiB where six children share 0.25 GiB, and the idle memory, with their parent."""
EXCESS = 2.4
"""GiB that the probes try to use."""
SLACK = 3.0
"""Seconds after its limit by which a stage must be dead and reported."""
FILE_BYTES = 8 << 30
PROCESSES = 5000


def overdue(context: SelfCheckContext) -> dict[str, EndedStage]:
    """Return four stages that ran side by side: three over their limit, and a neighbour."""

    def run() -> dict[str, EndedStage]:
        limit = context.deadline
        run_idle_stages(context, 4)
        jobs = {
            "sleeper": context.jobs.make("limits.sleeps", seconds=limit, asleep=60),
            "resister": context.jobs.make("limits.resists", seconds=limit),
            "family": context.jobs.make("limits.leaves", seconds=limit, alive=60),
            "neighbour": context.jobs.make("limits.sleeps", asleep=limit + 0.7),
        }
        return dict(zip(jobs, context.finish(*jobs.values()), strict=True))

    return context.once("overdue", run)


def run_idle_stages(context: SelfCheckContext, stages: int) -> None:
    """Run stages that do nothing side by side, so that the executor's idle processes exist."""
    context.finish(*(context.jobs.make("endings.fine") for _ in range(stages)))


def _stopped_in_time(context: SelfCheckContext, stage: EndedStage) -> None:
    stage.expect("timeout", "limit")
    took = stage.result.seconds
    expect(context.deadline <= took <= context.deadline + SLACK, f"stopped after {took:.1f} s")


@promise
def deadline(context: SelfCheckContext) -> None:
    """The deadline stops a stage that sleeps."""
    _stopped_in_time(context, overdue(context)["sleeper"])


@promise
def deadline_in_c(context: SelfCheckContext) -> None:
    """The deadline stops a busy loop that ignores signals, with a thread asleep in C."""
    _stopped_in_time(context, overdue(context)["resister"])


@promise
def deadline_kills_descendants(context: SelfCheckContext) -> None:
    """The deadline kills a stage's children, and a daemon that left its process group."""
    stage = overdue(context)["family"]
    _stopped_in_time(context, stage)
    expect_no_processes(context.executor, checkpoint_of(stage.job))


@promise
def neighbour_survives(context: SelfCheckContext) -> None:
    """A stage stopped at its deadline does not stop its neighbour."""
    stage = overdue(context)["neighbour"]
    begun, ended = stage.report["begun"], stage.report["ended"]
    asleep = context.deadline + 0.7
    expect(begun - ended >= asleep, f"it had {begun:.1f} s left, then {ended:.1f} s")


@promise
def remaining_falls(context: SelfCheckContext) -> None:
    """``ctx.remaining()`` starts at the deadline and falls with the clock."""
    stage = overdue(context)["neighbour"]
    begun, ended = stage.report["begun"], stage.report["ended"]
    slept = context.deadline + 0.7
    fell = begun - ended
    fits = stage.job.seconds - 5 < begun <= stage.job.seconds and slept <= fell < slept + 2
    expect(fits, f"{begun:.2f} s, and {ended:.2f} s after {slept:.2f} s")


@promise
def end_kills_descendants(context: SelfCheckContext) -> None:
    """A stage that ends well leaves no child and no daemon behind."""
    stage = context.run("limits.leaves", alive=0.1)
    stage.expect("ok")
    expect_no_processes(context.executor, checkpoint_of(stage.job))


@promise
def end_spares_neighbours(context: SelfCheckContext) -> None:
    """The end of one stage does not kill the detached processes of a running neighbour."""
    run_idle_stages(context, 2)
    family, brief = (
        context.jobs.make("limits.leaves", alive=context.deadline),
        context.jobs.make("endings.fine"),
    )
    context.executor.start(family)
    wait_for_beats(checkpoint_of(family))
    context.finish(brief)
    size = {p: p.stat().st_size for p in checkpoint_of(family).glob("*.beat")}
    context.finish(family, start=False)
    dead = [p.name for p, before in size.items() if p.stat().st_size <= before]
    expect(not dead, f"killed with the other stage: {', '.join(dead)}")


@promise
def memory_limit(context: SelfCheckContext) -> None:
    """Memory beyond the limit is out_of_memory, and the reason names the kind of memory."""
    context.run("limits.hoards", memory_gb=MEMORY, gigabytes=EXCESS).expect("out_of_memory", "host")


@promise
def memory_of_children(context: SelfCheckContext) -> None:
    """Memory counts over all processes of a stage."""
    stage = context.run("limits.hoards", memory_gb=MEMORY, gigabytes=EXCESS, spread=True)
    stage.expect("out_of_memory", "host")


@promise
def memory_once(context: SelfCheckContext) -> None:
    """Memory that a stage's processes share since a fork counts once."""
    report = context.report("limits.copies", memory_gb=COPIED, gigabytes=0.25, children=6)
    expect(report["bytes"] == 1 << 28, report)


@promise
def memory_shared(context: SelfCheckContext) -> None:
    """Shared memory counts like any other."""
    context.run("limits.shares", memory_gb=MEMORY, gigabytes=EXCESS).expect("out_of_memory", "host")


@promise
def file_size(context: SelfCheckContext) -> None:
    """No file grows beyond 8 GiB."""
    report = context.report("limits.outgrows", limit=FILE_BYTES)
    expect("refused" in report, "a byte beyond 8 GiB was written")


@promise
def disk_limit(context: SelfCheckContext) -> None:
    """The disk space of a stage is limited."""
    half = shutil.disk_usage(context.root).free // 2
    for folder in ("scratch", "out"):
        report = context.report("limits.fills", folder=folder, size=half)
        expect("refused" in report, f"half the free disk ({half >> 30} GiB) was reserved")


@promise
def shared_memory_limit(context: SelfCheckContext) -> None:
    """The size of /dev/shm is limited."""
    report = context.report("limits.fills", folder="/dev/shm", size=8 << 30)  # noqa: S108
    expect("refused" in report, "8 GiB of shared memory were reserved")


@promise
def process_limit(context: SelfCheckContext) -> None:
    """The number of a stage's processes is limited."""
    made = context.report("limits.multiplies", limit=PROCESSES)["made"]
    expect(made < PROCESSES, f"{made} processes were made")
