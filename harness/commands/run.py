"""``gauntlet run``: run what a benchmark is missing."""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress

from rich.console import Console

from harness.common.errors import UserError
from harness.common.progress import Meter
from harness.config.catalog import Module
from harness.config.environments import Environment, ignored_locally
from harness.executors.base import Executor
from harness.planning.plan import Cell, Only, Plan
from harness.planning.stage_keys import HOST
from harness.planning.timings import Timings
from harness.results import record_tree, records
from harness.results.checks import Checks
from harness.results.records import Record
from harness.running.jobs import environments_of
from harness.running.recorder import Recorder
from harness.running.scheduler import Scheduler
from harness.running.tally import Tally
from harness.storage.mirror import Mirror
from harness.workspace import Workspace

FINAL = ("ok", "not_applicable", "avoided")
"""Statuses that a retry cannot change."""


def count_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def choose_executor(name: str, console: Console) -> str:
    """Resolve ``auto``: containers where an engine answers, else local; print which and why."""
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


def make_executor(name: str, *, fresh: bool = False) -> Executor:
    """Make an executor by name.

    Args:
        name: ``local`` or ``docker``.
        fresh: start a new container for every stage.

    Raises:
        UserError: unknown name, or no engine answers.
    """
    if name == "local":
        from harness.executors.local import LocalExecutor

        return LocalExecutor()
    if name == "docker":
        from harness.executors.docker import DockerExecutor
        from harness.executors.images import Images

        return DockerExecutor(Images.connect(), reuse=not fresh)
    raise UserError("--executor", f"no executor {name!r}", "use local, docker or auto")


def build_images(executor: str, needed: Iterable[Environment | None], console: Console) -> None:
    """Build the missing images of the environments that stages will run in.

    Args:
        executor: only ``docker`` needs images.
        needed: environments.
        console: shows the progress.

    Raises:
        UserError: no engine answers, or an image cannot be built.
    """
    if executor == "docker":
        from harness.commands.images import build_missing
        from harness.executors.images import Images

        with closing(Images.connect()) as engine:
            build_missing(engine, needed, console)


def print_ignored_requirements(executor: str, modules: Iterable[Module], console: Console) -> None:
    """Print a line for each module whose requirements a run without containers ignores."""
    if executor == "local":
        for line in filter(None, map(ignored_locally, modules)):
            console.print(line, soft_wrap=True, style="yellow", highlight=False, markup=False)


def find_environments(
    plan: Plan, scheduler: Scheduler, cells: list[Cell]
) -> Iterator[Environment | None]:
    """Yield the environments of the missing stages of some cells."""
    for stage in scheduler.missing(cells).values():
        if stage.kind not in HOST:
            yield from environments_of(stage, plan.environments)


def parse_gpus(text: str) -> list[str]:
    """Parse the value of ``--gpus``.

    >>> parse_gpus("0, 1")
    ['0', '1']

    Raises:
        UserError: not numbers, or a duplicate.
    """
    numbers = [part.strip() for part in text.split(",")]
    if not all(number.isdecimal() for number in numbers) or len(set(numbers)) < len(numbers):
        raise UserError("--gpus", f"cannot read {text!r}", "write each number once, such as 0,1")
    return numbers


def find_pending(plan: Plan, found: list[Record], *, retry_failed: bool) -> list[Cell]:
    """Find the cells without a record of their key; with ``retry_failed`` also failed ones."""
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
    added: Sequence[str] = (),
    retry_failed: bool = False,
    keep_all: bool = False,
    mirror: str | None = None,
    console: Console,
) -> Tally:
    """Run a benchmark's missing cells and print a summary."""
    numbers = parse_gpus(gpus) if device == "cuda" else []
    executor = choose_executor(executor, console)
    plan = workspace.plan(workspace.benchmark(name, added), only, device, executor)
    found, broken = record_tree.load_all(workspace.local_records)
    print_ignored(broken, console)
    cells = find_pending(plan, found, retry_failed=retry_failed)
    store = workspace.store()
    place = make_executor(executor, fresh=fresh)
    shared = Mirror(mirror) if mirror else None
    checks = Checks(workspace.checks)
    recorder = Recorder(store, workspace.local_records, place.name, device, workspace.root, checks)
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
            jobs=jobs or len(numbers) or count_cores(),
            device=device,
            gpus=numbers,
            keep_all=keep_all,
            mirror=shared,
            tell=meter.update,
        )
        if retry_failed:
            scheduler.forget_failures(cells)
        build_images(place.name, find_environments(plan, scheduler, cells), console)
        needed = {ref for cell in cells if cell.reason is None for ref in cell.modules}
        modules = [one for one in workspace.catalog.modules.values() if one.ref in needed]
        print_ignored_requirements(place.name, modules, console)
        try:
            with meter:
                tally = scheduler.run(cells)
        finally:  # a run that was stopped after hours has measured stages, too
            with suppress(OSError):
                Timings(workspace.home, plan).learn(store, scheduler.done)
    if shared is not None:
        for key in scheduler.done:
            shared.push(store, key)
    print_summary(console, plan, recorder, tally, place.name)
    return tally


def print_ignored(broken: list[UserError], console: Console) -> None:
    """Print which records could not be read; their cells count as not run."""
    for error in broken[:3]:
        console.print(f"ignored: {error}", soft_wrap=True, style="yellow", highlight=False)
    if len(broken) > 3:
        console.print(f"ignored: {len(broken) - 3} more; gauntlet check lists all", style="yellow")


def print_summary(
    console: Console, plan: Plan, recorder: Recorder, tally: Tally, executor: str
) -> None:
    """Print what was run, and the statuses of all cells."""
    statuses = Counter(
        recorder.by_key[cell.key].status if cell.key in recorder.by_key else "missing"
        for cell in plan.cells.values()
    )
    overhead = (
        f", median {statistics.median(tally.overheads):.2f} s a stage beyond its hook"
        if tally.overheads
        else ""
    )
    declined = f"{tally.not_applicable} not applicable, " if tally.not_applicable else ""
    console.print(
        f"{plan.benchmark.name}: {tally.stages} stages run in {tally.seconds:.1f} s "
        f"({executor}{overhead}), {declined}{tally.failed} failed, "
        f"{tally.records} records written.",
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
