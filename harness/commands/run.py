"""``gauntlet run``: run what a benchmark is missing."""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress

from rich.console import Console

from harness.common.errors import UserError
from harness.common.progress import Meter
from harness.config.environments import Environment
from harness.executors.base import Executor
from harness.planning.graph import HOST
from harness.planning.plan import Cell, Only, Plan
from harness.planning.timings import Timings
from harness.results import records
from harness.results.records import Record
from harness.running.recorder import Recorder
from harness.running.scheduler import Scheduler, Tally
from harness.storage.mirror import Mirror
from harness.workspace import Workspace

FINAL = ("ok", "not_applicable", "avoided")
"""Statuses that another try cannot change."""


def workers() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def chosen(name: str, console: Console) -> str:
    """The executor behind ``auto``: containers where an engine answers; says which and why."""
    if name != "auto":
        return name
    from harness.executors.images import Images

    try:
        Images.connect().close()
    except UserError as error:
        console.print(f"executor: local, without isolation ({error.what})", highlight=False)
        return "local"
    console.print("executor: docker, as an engine answers", highlight=False)
    return "docker"


def executor_named(name: str, *, fresh: bool = False) -> Executor:
    """An executor by name.

    Args:
        name: ``local`` or ``docker``. fresh: a container of its own for every stage.

    Raises:
        UserError: it cannot be had.
    """
    if name == "local":
        from harness.executors.local import LocalExecutor

        return LocalExecutor()
    if name == "docker":
        from harness.executors.docker import DockerExecutor
        from harness.executors.images import Images

        return DockerExecutor(Images.connect(), reuse=not fresh)
    raise UserError("--executor", f"no executor {name!r}", "use local, docker or auto")


def prepare(executor: str, needed: Iterable[Environment | None], console: Console) -> None:
    """The build phase: make the images that stages will run in and that are not there yet.

    Args:
        executor: only ``docker`` needs any. needed: environments. console: where to say it.

    Raises:
        UserError: no engine answers, or one cannot be built.
    """
    if executor == "docker":
        from harness.commands.images import ensure
        from harness.executors.images import Images

        with closing(Images.connect()) as engine:
            ensure(engine, needed, console)


def environments_of(
    plan: Plan, scheduler: Scheduler, cells: list[Cell]
) -> Iterator[Environment | None]:
    """What the missing stages of these cells run in."""
    for stage in scheduler.missing(cells).values():
        if stage.kind not in HOST:
            yield plan.environments.of(stage.recipe)


def gpu_numbers(text: str) -> list[str]:
    """``"0,1"`` → ``["0", "1"]``.

    >>> gpu_numbers("0, 1")
    ['0', '1']

    Raises:
        UserError: not numbers, or one twice.
    """
    numbers = [part.strip() for part in text.split(",")]
    if not all(number.isdecimal() for number in numbers) or len(set(numbers)) < len(numbers):
        raise UserError("--gpus", f"cannot read {text!r}", "write their numbers once, such as 0,1")
    return numbers


def pending(plan: Plan, found: list[Record], *, retry_failed: bool) -> list[Cell]:
    """Cells without a record of their key; with ``retry_failed`` also those that failed."""
    newest = records.newest_by_key(found)

    def done(cell: Cell) -> bool:
        record = newest.get(cell.key)
        if record is None or record.status in ("infra_error", "missing"):
            return False
        return record.status in FINAL or not retry_failed

    return [cell for cell in plan.cells.values() if not done(cell)]


def run(
    workspace: Workspace,
    name: str,
    *,
    executor: str = "auto",
    fresh: bool = False,
    jobs: int | None = None,
    device: str = "cpu",
    gpus: str = "0",
    only: Only | None = None,
    retry_failed: bool = False,
    keep_all: bool = False,
    mirror: str | None = None,
    console: Console,
) -> Tally:
    """Run a benchmark's missing cells and say what came of it."""
    numbers = gpu_numbers(gpus) if device == "cuda" else []
    executor = chosen(executor, console)
    plan = workspace.plan(workspace.benchmark(name), only, device, executor)
    found, broken = records.load_all(workspace.local_records)
    say_ignored(broken, console)
    cells = pending(plan, found, retry_failed=retry_failed)
    store = workspace.store()
    place = executor_named(executor, fresh=fresh)
    elsewhere = Mirror(mirror) if mirror else None
    recorder = Recorder(store, workspace.local_records, place.name, device, workspace.root)
    recorder.by_key = records.newest_by_key(found)
    with closing(place):
        meter = Meter(f"{plan.benchmark.name}: stages")
        scheduler = Scheduler(
            plan,
            catalog=workspace.catalog,
            store=store,
            executor=place,
            recorder=recorder,
            data_root=workspace.data,
            jobs=jobs or len(numbers) or workers(),
            device=device,
            gpus=numbers,
            keep_all=keep_all,
            mirror=elsewhere,
            tell=meter.update,
        )
        if retry_failed:
            scheduler.forget_failures(cells)
        prepare(place.name, environments_of(plan, scheduler, cells), console)
        try:
            with meter:
                tally = scheduler.run(cells)
        finally:  # a run that was stopped after hours has seen what stages take
            with suppress(OSError):
                Timings(workspace.home, plan).learn(store, scheduler.done)
    if elsewhere is not None:
        for key in scheduler.done:
            elsewhere.push(store, key)
    say(console, plan, recorder, tally, place.name)
    return tally


def say_ignored(broken: list[UserError], console: Console) -> None:
    """Say which records could not be read; the cells behind them count as not run."""
    for error in broken[:3]:
        console.print(f"ignored: {error}", soft_wrap=True, style="yellow", highlight=False)
    if len(broken) > 3:
        console.print(f"ignored: {len(broken) - 3} more; gauntlet check lists all", style="yellow")


def say(console: Console, plan: Plan, recorder: Recorder, tally: Tally, executor: str) -> None:
    """One paragraph: what was run, what every cell ended in."""
    statuses = Counter(
        recorder.by_key[cell.key].status if cell.key in recorder.by_key else "missing"
        for cell in plan.cells.values()
    )
    overhead = (
        f", median {statistics.median(tally.overheads):.2f} s a stage beyond its hook"
        if tally.overheads
        else ""
    )
    console.print(
        f"{plan.benchmark.name}: {tally.stages} stages run in {tally.seconds:.1f} s "
        f"({executor}{overhead}), {tally.failed} failed, {tally.records} records written.",
        soft_wrap=True,
        highlight=False,
    )
    parts = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
    console.print(f"{len(plan.cells)} cells: {parts}", soft_wrap=True, highlight=False)
    failed = [
        recorder.by_key[cell.key]
        for cell in plan.cells.values()
        if cell.key in recorder.by_key
        and recorder.by_key[cell.key].status not in ("ok", "not_applicable")
    ]
    for record in failed[:10]:
        console.print(
            f"  {record.status}: {record.id}: {record.reason}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    if len(failed) > 10:
        console.print(f"  … and {len(failed) - 10} more; see gauntlet show CELL")
