"""Find the record that counts for one cell, and say why it is stale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.common.errors import UserError, split
from harness.config.benchmark import Matrix
from harness.judge import METHOD
from harness.planning.plan import Cell, Only, Plan
from harness.report.selection import Selected, plans, select
from harness.results import records
from harness.results.records import Record, RecordedCell
from harness.results.replications import Replications, replications
from harness.workspace import Workspace


@dataclass(frozen=True)
class Counting:
    """The record that counts for one cell, planned or not.

    Attributes:
        record: the record.
        selected: the planned cell of a record that is of today's plan, else ``None``.
        error: why the record is not of today's plan, or why that cannot be seen.
        planned: the planned cell, of a stale record, too; ``None`` where it cannot be planned.
        replications: the other records of the same question, if any.
    """

    record: Record
    selected: Selected | None = None
    error: UserError | None = None
    planned: Selected | None = None
    replications: Replications | None = None

    @property
    def warning(self) -> str | None:
        """Line that says why the record is not known to be of today's plan."""
        if self.error is None:
            return None
        where = "" if self.error.where == self.record.id else f"not planned: {self.error.where}: "
        return f"{where}{self.error.what}; this is the latest record"

    def current(self) -> Selected:
        """Return the planned cell of a record that is of today's plan.

        Raises:
            UserError: it is not; says why, and names the commit to check out.
        """
        if self.selected is None:
            assert self.error is not None
            raise self.error
        return self.selected


def counting(
    workspace: Workspace, found: Sequence[Record], every: Sequence[Record] = ()
) -> Counting:
    """Return the record that counts for one cell.

    Where the cell is not planned any more, or cannot be, that is the latest.

    Args:
        workspace: the checkout.
        found: the records of the cell to choose from; at least one.
        every: all records of the cell, where these are more.
    """
    planned: list[Plan] = []
    one = _counting(workspace, found, every or found, planned)
    today = {cell.key for plan in planned for cell in plan.cells.values()}
    return replace(one, replications=replications(one.record, every or found, today))


def _counting(
    workspace: Workspace, found: Sequence[Record], every: Sequence[Record], planned: list[Plan]
) -> Counting:
    """Do the work of ``counting``, and add the plans that it made."""
    latest = records.in_order(found)[-1]
    info = latest.cell
    try:
        benchmark = workspace.benchmark(info.benchmark)
        matrix = next((one for one in benchmark.planned if one.name == info.matrix), None)
        if matrix is None:
            return old(latest, f"not planned: the benchmark has no matrix {info.matrix} any more")
        planned += plans(workspace, [benchmark], every, around(matrix, info))
    except UserError as error:
        return Counting(latest, error=split(error)[0])
    selected = select(planned, found).get(latest.id)
    if selected is None:
        return old(latest, "not planned: the benchmark no longer plans this cell")
    assert selected.record is not None
    if not selected.stale:
        return Counting(selected.record, selected, planned=selected)
    place = selected.record.environment
    way = (place.executor, place.device)
    same = next(p for p in planned if (p.environments.executor, p.environments.device) == way)
    cell = same.cells[latest.id]
    if cell.status == "missing":
        missing = UserError(cell.id, f"not planned: {cell.reason}", "then try again")
        return Counting(selected.record, error=missing)
    stale = old(selected.record, f"stale: {why_stale(selected.record, cell)} changed since")
    return replace(stale, planned=Selected(same, cell, selected.record, stale=True))


def around(matrix: Matrix, info: RecordedCell) -> Only:
    """Return which part of a matrix to plan for one cell; all of its attacks, for ensembles."""
    labels = {
        "victim": (info.victim, [entry.label for entry in matrix.victims]),
        "defense": (info.defense, [entry.label for entry in matrix.defenses]),
        "seed": (str(info.seed), [str(seed) for seed in matrix.seeds]),
    }
    # a label that is gone matches no cell of the rest either
    here = {column: {label} for column, (label, known) in labels.items() if label in known}
    return {"matrix": {matrix.name}, **here}


def old(record: Record, what: str) -> Counting:
    """Return a record that is not of today's plan, with the commit to check out as the fix."""
    run = record.run
    fix = "the record names no commit; run the benchmark again"
    if run.commit:
        fix = f"git checkout {run.commit}"
        fix += " (that run had changed files)" if run.dirty else ""
    return Counting(record, error=UserError(record.id, what, fix))


def why_stale(record: Record, cell: Cell) -> str:
    """Return what differs between a record and its cell as it is planned today.

    Args:
        record: a stale record.
        cell: the cell, planned for the record's executor and device.
    """
    known, now = record.modules, cell.modules
    recorded = record.cell.model_dump()
    changed = [ref for ref in known if now.get(ref, known[ref]) != known[ref]]
    changed += [f"{ref} (left out now)" for ref in known.keys() - now.keys()]
    changed += [f"{ref} (new)" for ref in now.keys() - known.keys()]
    changed += [
        f"the parameters of the {role}"
        for role, params in cell.params.items()
        if record.params.get(role, params) != params
    ]
    changed += [
        f"the cell's {name.replace('_', ' ')}"
        for name, value in cell.info.to_json().items()
        if recorded.get(name) != value
    ]
    if record.handed and [one.attack for one in record.handed] != list(cell.handed):
        changed.append("the attacks in order")
    if record.method != METHOD:
        changed.append(f"the judge's method ({record.method} → {METHOD})")
    if cell.reason is not None and record.reason != cell.reason:
        changed.append(f"what can be played ({cell.reason})")
    if cell.stages and record.stages and record.stages["slice"] != cell.stages["slice"]:
        changed.append("the data or the choice of test examples")
    if changed:
        return ", ".join(changed)
    if record.stages == cell.stages:
        return "a member of the ensemble, or the judge" if cell.members else "the judge"
    return "the harness or its environment"
