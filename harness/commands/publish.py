"""``gauntlet publish``: copy the records that count to ``reports/records``, for a pull request."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console

from harness import records
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
    files goes too, as it says so itself (``run.dirty``) and its modules' digests are in it.

    Args:
        workspace: the checkout. names: benchmarks; all when empty. include_local: also records of
            the local executor. dry_run: only say what would be copied.
        console: where to say it.

    Raises:
        UserErrors: a record is broken. UserError: there is nothing to publish.
    """
    found, broken = records.load_all(workspace.local_records)
    published, broken_there = records.load_all(workspace.published_records)
    if broken or broken_there:
        raise UserErrors(broken + broken_there)
    benchmarks = [workspace.benchmark(name) for name in names] or workspace.benchmarks()
    chosen, left = [], Counter[str]()
    for benchmark in benchmarks:
        own = [record for record in found if record["cell"]["benchmark"] == benchmark.name]
        devices = {record["environment"]["device"] for record in own}
        keys = {
            cell.key
            for executor in ("docker", *(["local"] if include_local else []))
            for device in devices
            for cell in workspace.plan(benchmark, None, device, executor).cells.values()
        }
        picked, reasons = pick(own, keys, include_local=include_local)
        chosen += picked
        left += reasons
    there = {(record["key"], record["result"]) for record in published}
    # times and machines differ between equal results: they need no second record
    new = [record for record in chosen if (record["key"], record["result"]) not in there]
    if not dry_run:
        for record in new:
            records.write(workspace.published_records, record)
    say(console, len(new), len(chosen) - len(new), left, dry_run=dry_run)
    if not chosen:
        fix = "gauntlet run BENCH --executor docker, or --include-local"
        raise UserError("publish", "no record that can be published", fix)


def pick(
    found: list[dict[str, Any]], keys: set[str], *, include_local: bool
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """The newest record of each cell that may be published, and why others stay.

    Args:
        found: records of one benchmark. keys: of the cells that are planned today.
        include_local: also those that were not made in containers.
    """
    left: Counter[str] = Counter()
    fit = []
    for record in found:
        if not include_local and record["environment"]["executor"] != "docker":
            left["made without isolation"] += 1
        elif record["key"] not in keys:
            left["stale"] += 1
        elif record["status"] in TRANSIENT:
            left[record["status"]] += 1
        else:
            fit.append(record)
    newest = list(records.newest_by_key(fit).values())
    left["older than another of its cell"] += len(fit) - len(newest)
    return newest, +left


def say(console: Console, new: int, old: int, left: Counter[str], *, dry_run: bool) -> None:
    """What was copied, what was not and why, and what comes next."""

    def line(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    word = "would be published" if dry_run else "published"
    line(f"{new} records {word}, {old} lay there already.")
    for reason, count in left.most_common():
        line(f"  {count} left out: {reason}")
    if new and not dry_run:
        line("Next: git add reports/records, and gauntlet report to see them.")
