"""``gauntlet publish``: copy the records that count to ``reports/records``, for a pull request."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console

from harness import records
from harness.benchmark import Benchmark
from harness.errors import UserError, UserErrors
from harness.store import TRANSIENT
from harness.workspace import Workspace


def publish(
    workspace: Workspace,
    names: list[str],
    *,
    include_local: bool,
    dry_run: bool,
    console: Console,
) -> None:
    """Copy each cell's record into git's folder; what lies there is never changed.

    Only records of today's plan count, made in containers, unless told otherwise: a record that was
    made without isolation is its author's word. One that was made from a checkout with changed
    files goes too: its key holds the digests of what ran, and fits the files as they lie here now.
    But its commit alone does not reproduce it, so the number of those is said.

    Args:
        workspace: the checkout. names: benchmarks; all when empty. include_local: also records of
            the local executor. dry_run: only say what would be copied.
        console: where to say it.

    Raises:
        UserErrors: a record is broken. UserError: there is nothing to publish.
    """
    there, broken = records.load_all(workspace.published_records)
    found, broken_here = records.load_all(workspace.local_records)
    if broken or broken_here:
        raise UserErrors(broken + broken_here)
    benchmarks = [workspace.benchmark(name) for name in names] or workspace.benchmarks()
    withdrawn = {one["result"] for one in records.retractions(workspace.published_records)[0]}
    fit, left = [], Counter[str]()
    for benchmark in benchmarks:
        own = [record for record in found if record["cell"]["benchmark"] == benchmark.name]
        keys = keys_today(workspace, benchmark, own, include_local=include_local)
        for record in own:
            reason = why_not(record, keys, withdrawn, include_local=include_local)
            left.update([reason] if reason else [])
            fit += [] if reason else [record]
    cells = {record["key"] for record in fit}
    best = records.newest_by_key([*there, *fit])
    # times and machines differ between equal results: they need no second record
    known = {(record["key"], record["result"]) for record in there}
    new = [best[key] for key in cells if (key, best[key]["result"]) not in known]
    left["older than another of its cell"] += len(fit) - len(cells)
    if not dry_run:
        for record in new:
            records.write(workspace.published_records, record)
    say(console, new, len(cells) - len(new), +left, dry_run=dry_run)
    if not fit:
        fix = "gauntlet run BENCH --executor docker, or --include-local"
        raise UserError("publish", "no record that can be published", fix)


def retract(workspace: Workspace, name: str, why: str | None, console: Console) -> None:
    """Withdraw a published record: a file that names it and says why is added beside it.

    Raises:
        UserError: no reason is given, no such record, or it is withdrawn already.
    """
    if not why or not why.strip():
        fix = "add --why SENTENCE: it stands where the number stood"
        raise UserError("publish --retract", "no reason", fix)
    path = records.retract(workspace.published_records, name, " ".join(why.split()))
    console.print(f"withdrawn by {path}. Next: git add it.", soft_wrap=True, highlight=False)


def keys_today(
    workspace: Workspace, benchmark: Benchmark, own: list[dict[str, Any]], *, include_local: bool
) -> set[str]:
    """Keys of a benchmark's cells as they are planned now, for the devices that were used."""
    executors = ("docker", "local") if include_local else ("docker",)
    devices = {record["environment"]["device"] for record in own}
    return {
        cell.key
        for executor in executors
        for device in devices
        for cell in workspace.plan(benchmark, None, device, executor).cells.values()
    }


def why_not(
    record: dict[str, Any], keys: set[str], withdrawn: set[str], *, include_local: bool
) -> str | None:
    """Why a record may not be published, or ``None``.

    Args:
        record: of a run on this machine. keys: of the cells that are planned today.
        withdrawn: results that were retracted. include_local: also those without isolation.
    """
    if record["environment"]["executor"] != "docker" and not include_local:
        return "made without isolation"
    if record["result"] in withdrawn:
        return "withdrawn"
    if record["key"] not in keys:
        return "stale"
    return str(record["status"]) if record["status"] in TRANSIENT else None


def say(
    console: Console, new: list[dict[str, Any]], old: int, left: Counter[str], *, dry_run: bool
) -> None:
    """What was copied, what was not and why, and what comes next."""

    def line(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    word = "would be published" if dry_run else "published"
    line(f"{len(new)} {'record' if len(new) == 1 else 'records'} {word}, {old} lay there already.")
    for reason, count in left.most_common():
        line(f"  {count} left out: {reason}")
    dirty = sum(bool(record["run"]["dirty"]) for record in new)
    if dirty:
        line(f"  {dirty} made from files that were not committed: commit those too.")
    if new and not dry_run:
        line("Next: git add reports/records, and gauntlet report to see them.")
