"""``gauntlet reproduce``: run a recorded cell again in an empty store and compare."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console

from harness.commands.named_records import is_place, read_named
from harness.commands.run import (
    build_images,
    choose_executor,
    count_cores,
    find_environments,
    make_executor,
)
from harness.commands.show import find_record
from harness.common.errors import UserError
from harness.common.progress import Meter
from harness.config.catalog import FOLDERS
from harness.planning.plan import Cell, Plan
from harness.report.counting import Counting, around, counting
from harness.report.selection import Selected
from harness.report.site.format import duration
from harness.results.records import Record, outcome_of
from harness.results.replications import TOLERANCE, compare
from harness.results.times import recorded_seconds
from harness.running.recorder import Recorder, git
from harness.running.scheduler import Scheduler
from harness.storage.store import Store
from harness.workspace import Workspace


def reproduce(
    workspace: Workspace, text: str, console: Console, executor: str | None = None
) -> bool:
    """Run recorded cells again and compare every figure.

    Args:
        workspace: the checkout.
        text: a cell's id or a part of it, the digest of a result or outcome, a record's file, or
            path or address of a cell's page, which may hold several records.
        console: shows what comes out.
        executor: where to run; by default where the record was made.

    Returns:
        Whether every figure is within tolerance.

    Raises:
        UserError: no such record, or the modules have changed since; names the commit to check out.
    """
    executor = None if executor is None else choose_executor(executor, console)
    found = find_records(workspace, text)
    cells = [(one, current(workspace, one, executor)) for one in found]

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False, markup=False)

    for line in announce(workspace, found):
        say(line)
    good = True
    # records of one page share what they were trained from: it is computed again once
    with tempfile.TemporaryDirectory(prefix="gauntlet-reproduce-") as folder:
        for one, today in cells:
            again = run_again(workspace, today, one.record, Path(folder), console)
            for line in compared(one.record, again):
                say(line)
            good &= compare(one.record, again).within
    return good


def find_records(workspace: Workspace, text: str) -> list[Counting]:
    """Return the records that a text names, each with its planned cell."""
    if not is_place(text):
        return [find_record(workspace, text)]
    return [counting(workspace, [record]) for record in read_named(workspace, text)]


def current(workspace: Workspace, found: Counting, executor: str | None) -> Selected:
    """Return the planned cell of a record.

    At the commit that made it, with nothing changed, modules and harness are the same: a stale
    record is one of another environment there, which may still give the same outcome.

    Raises:
        UserError: the record is stale or cannot be planned; names the commit to check out, or at
            that commit the changes to put away.
    """
    record, head = found.record, git(workspace.root, "rev-parse", "HEAD")
    here = head is not None and head == record.run.commit and not record.run.dirty
    unchanged = here and found.planned is not None and _is_as_recorded(workspace, found.planned)
    today = found.planned if unchanged else found.selected
    if today is None:
        error = unplanned(workspace, found)
        if here and found.planned is not None:
            fix = "put this checkout's changes away (git stash -u)"
            raise UserError(error.where, error.what, fix)
        raise error
    way = executor or record.environment.executor
    if way == today.plan.environments.executor:
        return today
    benchmark = today.plan.benchmark
    matrix = next(one for one in benchmark.planned if one.name == record.cell.matrix)
    part = around(matrix, record.cell)
    plan = workspace.plan(benchmark, part, record.environment.device, way)
    return Selected(plan, plan.cells[record.id], record, stale=False)


def _is_as_recorded(workspace: Workspace, planned: Selected) -> bool:
    """Return whether the code of a cell, at its record's commit, is what was recorded.

    Modules that git ignores are seen by their digests. An ensemble's record has none: for it, no
    module may be changed.
    """
    record, cell = planned.record, planned.cell
    assert record is not None
    paths = ["harness", f"benchmarks/{record.cell.benchmark}"]
    paths += FOLDERS.values() if cell.members else ()
    changed = git(workspace.root, "status", "--porcelain", "--", *paths)
    return changed == "" and (cell.modules, cell.params) == (record.modules, record.params)


def unplanned(workspace: Workspace, found: Counting) -> UserError:
    """Return why a record is not of today's plan, with the commit to check out as the fix."""
    assert found.error is not None
    commit, error = found.record.run.commit, found.error
    if commit is None or git(workspace.root, "cat-file", "-t", commit) is not None:
        return error
    what = f"{error.what}; it was made at commit {commit}, which this repository does not hold"
    fix = "git fetch and check it out, or clone the repository that the page is of"
    return UserError(error.where, what, fix)


def announce(workspace: Workspace, found: Sequence[Counting]) -> Iterator[str]:
    """Yield what is run again, where that differs from its record, and the expected time."""
    for one in found:
        record, commit = one.record, one.record.run.commit
        if one.warning is not None:
            yield f"{record.id}: {one.error.what if one.error else ''}, at its own commit"
        elif commit != (head := git(workspace.root, "rev-parse", "HEAD")):
            here = f"this checkout is at {head[:12]}" if head else "this folder is no checkout"
            yield (
                f"{record.id}: made at commit {(commit or 'unknown')[:12]}, {here}, with the same "
                f"modules and harness" + (f" (else: git checkout {commit})" if commit else "")
            )
    records = [one.record for one in found]
    seconds, machines = recorded_seconds(records), sorted({one.run.machine for one in records})
    count = "1 record" if len(records) == 1 else f"{len(records)} records"
    time = "an unknown time" if seconds is None else f"about {duration(seconds)}"
    yield f"{count}, expected to take {time} (as on {'; '.join(machines)})"


def compared(record: Record, again: Record) -> Iterator[str]:
    """Yield how far a new record agrees with a recorded one."""
    agreement = compare(record, again)
    if agreement.equal and again.result == record.result:
        yield f"{record.id}: reproduced exactly (result {record.result[:16]})"
    elif agreement.equal:
        outcome = outcome_of(record)[:16]
        yield f"{record.id}: reproduced exactly, in another environment (outcome {outcome})"
    elif again.status != record.status:
        yield f"{record.id}: was {record.status}, is {again.status}: {again.reason}"
    else:
        for figure in sorted(agreement.figures, key=lambda one: one.name):
            old, new = figure.first, figure.second
            if old is not None and new is not None:
                state = "within" if figure.within else "OUTSIDE"
                change = f"{old:.4f} recorded, {new:.4f} now, {new - old:+.4f}"
                of = " of the larger" if figure.relative else ""
                yield f"  {figure.name}: {change}: {state} {TOLERANCE}{of}"
            elif not figure.within:
                yield f"  {figure.name}: OUTSIDE: defined in only one of the two"
        if agreement.contradictory:
            yield f"{record.id}: OUTSIDE: the recorded figures are not those of its outcome digest"
        else:
            yield f"{record.id}: {'within' if agreement.within else 'OUTSIDE'} tolerance"


def run_again(
    workspace: Workspace,
    today: Selected,
    record: Record,
    home: Path,
    console: Console,
) -> Record:
    """Run a cell, and an ensemble's members, in a store of its own; return the new record.

    Args:
        workspace: the checkout.
        today: the planned cell, which says where to run.
        record: the record, which says on which device.
        home: folder of the store; what lies there is not run again.
        console: shows the progress.
    """
    plan, cell = today.plan, today.cell
    cells = [*(plan.cells[member] for member in cell.members), cell]
    with open_scheduler(workspace, plan, cells, record, home, console) as scheduler:
        scheduler.run(cells)
    return scheduler.recorder.by_key[cell.key]


@contextmanager
def open_scheduler(
    workspace: Workspace,
    plan: Plan,
    cells: list[Cell],
    record: Record,
    home: Path,
    console: Console,
) -> Iterator[Scheduler]:
    """Open a scheduler with a plan's executor and a record's device, and build missing images."""
    executor, device = plan.environments.executor, record.environment.device
    store = Store(home / "store")
    with closing(make_executor(executor)) as place:
        meter = Meter(f"{plan.benchmark.name}: stages")
        scheduler = Scheduler(
            plan,
            catalog=workspace.catalog,
            store=store,
            executor=place,
            recorder=Recorder(store, home / "records", executor, device),
            data_root=workspace.data,
            jobs=count_cores(),
            device=device,
            tell=meter.update,
        )
        build_images(executor, find_environments(plan, scheduler, cells), console)
        with meter:
            yield scheduler
