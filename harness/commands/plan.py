"""``gauntlet plan``: cells, stages, cached results, expected time and disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table

from harness.commands.run import choose_executor, count_cores, find_pending
from harness.common.errors import UserError
from harness.common.text import suggest
from harness.planning.forecast import Forecast
from harness.planning.plan import Cell, Only, Plan
from harness.planning.timings import Timings
from harness.results import record_tree
from harness.running.recorder import Recorder
from harness.running.scheduler import Scheduler
from harness.workspace import Workspace

MOST_REASONS = 8
"""Reasons why cells will not run that are listed one by one."""


def plan(
    workspace: Workspace,
    name: str,
    *,
    why: str | None,
    only: Only | None,
    added: Sequence[str] = (),
    device: str,
    executor: str,
    console: Console,
) -> None:
    """Print what a run would do, without running it."""
    executor = choose_executor(executor, console)
    planned = workspace.plan(workspace.benchmark(name, added), only, device, executor)
    found, _ = record_tree.load_all(workspace.local_records)
    cells = find_pending(planned, found, retry_failed=False)
    store = workspace.store()
    scheduler = Scheduler(
        planned,
        catalog=workspace.catalog,
        store=store,
        executor=None,
        recorder=Recorder(store, workspace.local_records, executor, device),
        data_root=workspace.data,
        jobs=1,
        device=device,
    )
    if why is not None:
        explain(planned, find_cell(planned, why), scheduler, console)
        return
    missing = scheduler.missing(cells)
    reachable = planned.graph.ancestors(planned.needed(list(planned.cells.values())))
    table = Table(title=f"{planned.benchmark.name}: {len(planned.cells)} cells")
    for column in ("stage", "planned", "cached", "to run", "expected"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    timings, parts = Timings(workspace.home, planned), []
    cached = Counter(s.kind for s in reachable.values() if store.has(s.key))
    for kind, count in Counter(s.kind for s in reachable.values()).items():
        expected = timings.forecast([s for s in missing.values() if s.kind == kind])
        parts.append(expected)
        row = (str(count), str(cached[kind]), str(expected.stages), expected.brief())
        table.add_row(kind, *row)
    if table.rows:
        console.print(table)
    else:
        console.print(table.title, highlight=False)
    ends = Counter(cell.status for cell in planned.cells.values() if cell.reason is not None)
    for line in (*reason_lines(planned), *order_lines(planned.cells.values())):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    done, ruled_out = len(planned.cells) - len(cells), ends["not_applicable"]
    console.print(
        f"{done} of {len(planned.cells)} cells recorded, {len(cells)} to do"
        + (f"; {ruled_out} of all not applicable. " if ruled_out else ". ")
        + Forecast.total(parts).sentence(count_cores()),
        soft_wrap=True,
        highlight=False,
    )
    own = [cell for cell in cells if not cell.info.made_against]
    if borrowed := sum(1 for cell in planned.cells.values() if cell.info.made_against):
        alone = scheduler.missing(own)
        more = timings.forecast([stage for key, stage in missing.items() if key not in alone])
        cost = f": {more.stages} stages more, expected {more.brief()}" if more.stages else ""
        console.print(
            f"{borrowed} of the cells are predictions on inputs of other cells{cost} "
            "(borrow: in the benchmark).",
            soft_wrap=True,
            highlight=False,
        )


def reason_lines(planned: Plan) -> Iterator[str]:
    """Yield why cells will not run, a line for each reason, the most frequent ones first."""
    reasons = Counter(
        (cell.status.replace("_", " "), cell.reason)
        for cell in planned.cells.values()
        if cell.reason is not None
    ).most_common()
    for (status, reason), count in reasons[:MOST_REASONS]:
        yield f"{status} ({count} cell{'s' if count > 1 else ''}): {reason}"
    if (more := len(reasons) - MOST_REASONS) > 0:
        yield f"and {more} other reasons: gauntlet plan {planned.benchmark.name} --why CELL"


def order_lines(cells: Iterable[Cell]) -> list[str]:
    """Return a line for each ensemble whose attacks are run in order, as each is planned."""
    found: dict[str, None] = {}
    for cell in cells:
        if cell.handed:
            line = f"{cell.info.attack} runs in order, each on the examples that still stand: "
            line += ", ".join(cell.handed)
            found["; ".join((line, *cell.omissions))] = None
    return list(found)


def find_cell(planned: Plan, text: str) -> Cell:
    """Find a cell by its id or a part of it.

    Raises:
        UserError: no cell matches, or several do.
    """
    if text in planned.cells:
        return planned.cells[text]
    found = [cell for cell in planned.cells.values() if text in cell.id]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(text, "no cell of this id", suggest(text, planned.cells))
    raise UserError(
        text, f"{len(found)} cells match", f"give more of the id, such as {found[0].id}"
    )


def explain(planned: Plan, cell: Cell, scheduler: Scheduler, console: Console) -> None:
    """Print a cell's stages, inputs first, and why each would run or not."""

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    say(cell.id)
    if cell.reason is not None:
        say(f"  {cell.status.replace('_', ' ')}: {cell.reason}")
        return
    if cell.members:
        say(f"  derived from {', '.join(cell.members)}")
        return
    for line in order_lines([cell]):
        say(f"  {line}")
    missing = scheduler.missing([cell])
    for key, stage in planned.graph.ancestors(list(cell.stages.values())).items():
        receipt = scheduler.store.receipt(key)
        if key in missing:
            gone = "to run again: its intermediate artefact is deleted"
            state = "to run" if receipt is None else gone
        elif receipt is None:
            state = "not needed: its results are cached"
        else:
            state = f"cached, {receipt.status}"
        roles = {role: ref.module for role, ref in stage.modules.items()}
        say(f"  {stage.kind:9} {key[:12]}  {state}  {' '.join(roles.values())}")
