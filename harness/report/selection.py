"""Selection of the record that counts for a cell: one rule for all commands and the report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.config.benchmark import Benchmark
from harness.judge import METHOD
from harness.planning.plan import Cell, Only, Plan
from harness.results import records
from harness.results.records import Record
from harness.workspace import Workspace


@dataclass(frozen=True)
class Selected:
    """A planned cell with the record that counts for it.

    Attributes:
        plan: the plan of the cell, for the executor and device of the record if it is fresh.
        cell: the planned cell.
        record: the record, or ``None`` where the cell has none.
        stale: whether the record is of another key than today's.
    """

    plan: Plan
    cell: Cell
    record: Record | None
    stale: bool


def select(plans: Iterable[Plan], found: Sequence[Record]) -> dict[str, Selected]:
    """Return the record that counts for every planned cell, by cell id.

    That is the one of the cell's key; of several, a result goes before a failure, and then the
    latest. Failing that, it is the latest of the same cell id by the same order, which is *stale*.

    Args:
        plans: a benchmark that is planned for several executors comes several times; a cell takes
            the first plan in which it has a record of its key.
        found: records from anywhere.
    """
    by_key, by_id = records.newest_by_key(found), newest_by_id(found)
    cells: dict[str, tuple[Plan, Cell]] = {}
    for plan in plans:
        for cell in plan.cells.values():
            if cell.id not in cells or (cells[cell.id][1].key not in by_key and cell.key in by_key):
                cells[cell.id] = plan, cell
    chosen = {}
    for name, (plan, cell) in cells.items():
        record = by_key.get(cell.key) or by_id.get(name)
        fresh = record is None or (record.key == cell.key and record.method == METHOD)
        chosen[name] = Selected(plan, cell, record, not fresh)
    return chosen


def newest_by_id(found: Sequence[Record]) -> dict[str, Record]:
    """Return each cell's latest record by cell id; of several, a result goes before a failure."""
    return {record.id: record for record in records.in_order(found)}


def group_by_id(found: Iterable[Record]) -> dict[str, list[Record]]:
    """Return cell id → every record of it."""
    groups: dict[str, list[Record]] = {}
    for record in found:
        groups.setdefault(record.id, []).append(record)
    return groups


def plans(
    workspace: Workspace,
    benchmarks: Iterable[Benchmark],
    found: Sequence[Record],
    only: Only | None = None,
) -> Iterator[Plan]:
    """Yield every benchmark's plan for each way in which it was run, containers first.

    What is installed where a stage runs is in its key, so that each way has keys of its own.
    """
    for benchmark in benchmarks:
        ways = {
            (record.environment.executor, record.environment.device)
            for record in found
            if record.cell.benchmark == benchmark.name
        } or {("local", "cpu")}
        for executor, device in sorted(ways):  # docker before local
            yield workspace.plan(benchmark, only, device, executor)
