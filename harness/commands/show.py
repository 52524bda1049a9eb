"""``gauntlet list`` and ``gauntlet show``: the catalogue, and one cell's record."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter

from rich.console import Console
from rich.table import Table

from harness.common.errors import UserError
from harness.config.catalog import FOLDERS
from harness.report.counting import Counting, counting
from harness.report.cross_flags import replication_flags
from harness.report.frame import module_checks
from harness.results import record_tree, records
from harness.results.checks import Checks, RecordedCheck
from harness.results.records import Metric, Record
from harness.results.replications import PLACES, Replications
from harness.workspace import Workspace

DIGEST = re.compile("[0-9a-f]{6,64}")
EXECUTORS = {"docker": "in containers", "local": "without isolation (self-reported)"}


def list_all(workspace: Workspace, console: Console) -> None:
    """Print modules, benchmarks and data sets, one line each."""
    for kind, folder in FOLDERS.items():
        table = Table("name", "tasks", "variants", "what it is", title=folder)
        for module in workspace.catalog.of(kind):
            m = module.manifest
            table.add_row(m.name, ", ".join(m.tasks), ", ".join(m.variants), m.summary)
        console.print(table)
    table = Table("name", "matrices", "what it is", title="benchmarks")
    for benchmark in workspace.benchmarks():
        names = ", ".join(matrix.name for matrix in benchmark.matrices)
        table.add_row(benchmark.name, names, benchmark.summary or "")
    console.print(table)
    table = Table("name", "task", "bundled", "size", title="data sets")
    for data in workspace.datasets:
        bundled = "yes" if data.bundled else "fetch"
        table.add_row(data.name, data.task, bundled, data.card.size)
    console.print(table)


def find_record(workspace: Workspace, text: str) -> Counting:
    """Return the record that counts for a cell.

    Args:
        workspace: the checkout.
        text: the cell's id or a unique part of it, or the digest of a result or outcome, or its
            beginning. Of several records of the digest, which are of one cell, one counts.

    Raises:
        UserError: no cell matches, or several do.
    """
    roots = (workspace.local_records, workspace.published_records)
    found, _ = record_tree.load_all(*roots)
    ids = {record.id for record in found}
    fitting = [text] if text in ids else sorted(cell for cell in ids if text in cell)
    if len(fitting) == 1:
        return counting(workspace, [record for record in found if record.id == fitting[0]])
    if fitting:
        raise UserError(text, f"{len(fitting)} cells match", f"give more, such as {fitting[0]}")
    if DIGEST.fullmatch(text):
        named = find_digest(found, text)
        return counting(workspace, named, [one for one in found if one.id == named[0].id])
    for cell, reason in record_tree.withdrawals(*roots).items():
        if text in cell:
            raise UserError(cell, reason, "run its benchmark again for a new record")
    fix = "see gauntlet plan BENCH for cell ids; reproduce also takes a cell's page or record file"
    raise UserError(text, "no recorded cell matches", fix)


def find_digest(found: Sequence[Record], text: str) -> list[Record]:
    """Return the records of one cell whose result or outcome has a digest.

    Args:
        found: records to search.
        text: the digest, or enough of its beginning.

    Raises:
        UserError: no record has it, or records of several cells or digests do.
    """
    matches = {
        name: [record for record in found if digest_of(record).startswith(text)]
        for name, digest_of in (("result", attrgetter("result")), ("outcome", records.outcome_of))
    }
    digests = {record.result for record in matches["result"]}
    digests |= {records.outcome_of(record) for record in matches["outcome"]}
    if not digests:
        fix = "give its cell's page or its record's file, or see gauntlet plan BENCH for cell ids"
        raise UserError(text, "no record here has a result or an outcome of this digest", fix)
    if len(digests) > 1:
        raise UserError(text, f"{len(digests)} digests begin so", "give more of it")
    chosen = matches["result"] or matches["outcome"]
    ids = sorted({record.id for record in chosen})
    if len(ids) > 1:
        fix = f"give the id of one, such as {ids[0]}"
        raise UserError(text, f"{len(ids)} cells have this outcome", fix)
    return chosen


def format_handed(record: Record) -> list[str]:
    """Return a line for each of several attacks in order."""
    return [
        f"  in order: {one.attack:16} broke {one.broken:,} of {one.examples:,}"
        for one in record.handed or ()
    ]


def show(workspace: Workspace, text: str, console: Console) -> None:
    """Print a cell's record in readable form."""
    found = find_record(workspace, text)
    record = found.record

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False, markup=False)

    say(record.id)
    if found.warning is not None:
        say(found.warning)
    by = f", by {record.by}" if record.by else ""
    say(f"status: {record.status}{by}" + (f" – {record.reason}" if record.reason else ""))
    for name, metric in record.metrics.items():
        say(f"  {name:26} {format_metric(metric)}")
    for line in (*format_handed(record), *format_flags(record, found.replications)):
        say(line)
    for line in format_checks(module_checks(record, Checks(workspace.checks))):
        say(line)
    for note in record.notes:
        say(f"  note: {note}")
    for role, key in record.stages.items():
        seconds = record.run.seconds.get(role)
        say(f"  {role:15} {key[:12]}" + (f"  {seconds:.2f} s" if seconds is not None else ""))
    run = record.run
    say(f"made {run.finished} {EXECUTORS[record.environment.executor]} on {run.machine}")
    for image in sorted(set(run.images.values())):
        say(f"image {image}")
    say(f"commit {run.commit}{' (changed files)' if run.dirty else ''}")
    say(f"result {record.result[:16]}, outcome {records.outcome_of(record)[:16]}")
    for line in format_replications(found.replications):
        say(line)


def format_flags(record: Record, repeated: Replications | None) -> Iterator[str]:
    """Yield a line for each flag of a record, and for that of its replications."""
    for flag in record.flags:
        yield f"  flag {flag.name}: {flag.text}"
    for more in replication_flags(repeated):
        yield f"  flag {more.name}: {more.text}"


def format_replications(found: Replications | None) -> Iterator[str]:
    """Yield how often a record was made and whether the records agree, and a line for each."""
    if found is not None:
        yield str(found)
        for other in sorted(found.others, key=lambda one: one.run.finished):
            place, commit = PLACES[other.environment.executor], (other.run.commit or "none")[:12]
            yield f"  {other.run.finished} {place} on {other.run.machine}, commit {commit}"


def format_checks(checks: Mapping[str, RecordedCheck]) -> Iterator[str]:
    """Yield a line for each module that was checked, and one for all others."""
    for name, check in checks.items():
        if check.state != "unchecked":
            yield f"  check of {name}: {check.state}" + "".join(
                f"; {one}" for one in check.failures
            )
    if unchecked := [name for name, check in checks.items() if check.state == "unchecked"]:
        yield f"  not checked: {', '.join(unchecked)}"


def format_metric(metric: Metric) -> str:
    """Format a metric with its interval and counts, or why it is undefined."""
    if metric.value is None:
        return f"– ({metric.absent})"
    text = f"{metric.value:.4f}"
    if metric.lo is not None:
        text += f"  {metric.lo:.4f}–{metric.hi:.4f} ({metric.method}, 95 %)"
    if metric.n is not None:
        text += f"  {metric.k}/{metric.n}"
    return text
