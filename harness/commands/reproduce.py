"""``gauntlet reproduce``: a recorded cell again, from nothing, in a scratch store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console

from harness.commands.run import environments_of, executor_named, prepare, workers
from harness.commands.show import find_record
from harness.common.progress import Meter
from harness.planning.plan import Cell, Plan
from harness.results.records import Record
from harness.running.recorder import Recorder
from harness.running.scheduler import Scheduler
from harness.storage.store import Store
from harness.workspace import Workspace

TOLERANCE = 0.005
"""On the same kind of machine a result is equal to the bit; across machines float rounding may turn
a few examples, so a metric within half a point counts as reproduced."""


def reproduce(workspace: Workspace, text: str, console: Console) -> bool:
    """Run a recorded cell again and compare every figure.

    Returns:
        Whether every figure is within tolerance.

    Raises:
        UserError: no such record, or the modules have changed since: names the commit to check out.
    """
    found = find_record(workspace, text)
    record, today = found.record, found.current()

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False, markup=False)

    again = run_again(workspace, today.plan, today.cell, record, console)
    if again.result == record.result:
        say(f"{record.id}: reproduced exactly (result {record.result[:16]})")
        return True
    if again.status != record.status:
        say(f"{record.id}: was {record.status}, is {again.status}: {again.reason}")
        return False
    within = True
    for name in sorted(record.metrics.keys() | again.metrics.keys()):
        old, new = record.metric(name), again.metric(name)
        if (old is None) != (new is None):
            say(f"  {name}: OUTSIDE: defined in one of the two only")
            within = False
        elif old is not None and new is not None:
            difference = new - old
            fine = abs(difference) <= TOLERANCE
            within &= fine
            say(
                f"  {name}: {old:.4f} recorded, {new:.4f} now, "
                f"{difference:+.4f}: {'within' if fine else 'OUTSIDE'} {TOLERANCE}"
            )
    say(f"{record.id}: {'within' if within else 'OUTSIDE'} tolerance")
    return within


def run_again(
    workspace: Workspace, plan: Plan, cell: Cell, record: Record, console: Console
) -> Record:
    """Run the cell, and an ensemble's members, in a scratch store; returns the new record."""
    with tempfile.TemporaryDirectory(prefix="gauntlet-reproduce-") as folder:
        cells = [*(plan.cells[member] for member in cell.members), cell]
        with again(workspace, plan, cells, record, Path(folder), console) as scheduler:
            scheduler.run(cells)
        return scheduler.recorder.by_key[cell.key]


@contextmanager
def again(
    workspace: Workspace,
    plan: Plan,
    cells: list[Cell],
    record: Record,
    home: Path,
    console: Console,
) -> Iterator[Scheduler]:
    """What runs stages of some cells where the record's were run, into a home of its own choice."""
    executor, device = record.environment.executor, record.environment.device
    store = Store(home / "store")
    with closing(executor_named(executor)) as place:
        meter = Meter(f"{plan.benchmark.name}: stages")
        scheduler = Scheduler(
            plan,
            catalog=workspace.catalog,
            store=store,
            executor=place,
            recorder=Recorder(store, home / "records", executor, device),
            data_root=workspace.data,
            jobs=workers(),
            device=device,
            tell=meter.update,
        )
        prepare(executor, environments_of(plan, scheduler, cells), console)
        with meter:
            yield scheduler
