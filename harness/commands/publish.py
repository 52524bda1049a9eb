"""``gauntlet publish``: copy the records that count to ``reports/records``, for a pull request."""

from __future__ import annotations

from collections import Counter

from rich.console import Console

from harness.common.errors import UserError, UserErrors
from harness.common.status import TRANSIENT
from harness.config.benchmark import Benchmark
from harness.report.selection import plans, select
from harness.results import record_tree, records
from harness.results.records import Record
from harness.workspace import Workspace


def publish(
    workspace: Workspace,
    names: list[str],
    *,
    include_local: bool,
    dry_run: bool,
    console: Console,
) -> None:
    """Copy the record of each cell to ``reports/records``; existing files never change.

    Only records of the current plan count, made in containers unless ``include_local`` is set:
    a record made without isolation is self-reported. A record from a checkout with uncommitted
    files is copied, too: its key holds the digests of the code, which equal the present files'.
    But its commit alone does not reproduce it, so their number is printed.

    Args:
        workspace: the checkout.
        names: benchmarks; all when empty.
        include_local: also publish records of the local executor.
        dry_run: only print what would be copied.
        console: shows the summary.

    Raises:
        UserErrors: a record is broken.
        UserError: there is nothing to publish.
    """
    there, broken = record_tree.load_all(workspace.published_records)
    found, broken_here = record_tree.load_all(workspace.local_records)
    if broken or broken_here:
        raise UserErrors(broken + broken_here)
    benchmarks = [workspace.benchmark(name) for name in names] or workspace.benchmarks()
    retracted, _ = record_tree.retractions(workspace.published_records)
    withdrawn = {one.retraction.result for one in retracted if one.retraction}
    # times and machines differ between equal results: they need no second record
    known = {(record.key, record.result) for record in there}
    new: list[Record] = []
    old, left = 0, Counter[str]()
    for benchmark in benchmarks:
        own, public = (
            [one for one in some if one.cell.benchmark == benchmark.name] for some in (found, there)
        )
        reasons = [explain_exclusion(one, withdrawn, include_local=include_local) for one in own]
        left.update(filter(None, reasons))
        fit = [one for one, reason in zip(own, reasons, strict=True) if reason is None]
        counted, others = select_current(workspace, benchmark, fit, public)
        left.update(others)
        fresh = [one for one in counted if (one.key, one.result) not in known]
        new, old = new + fresh, old + len(counted) - len(fresh)
    if not dry_run:
        for record in new:
            records.write(workspace.published_records, record)
    print_summary(console, new, old, +left, dry_run=dry_run)
    if not new and not old:
        fix = "gauntlet run BENCH --executor docker, or --include-local"
        raise UserError("publish", "no record that can be published", fix)


def retract(workspace: Workspace, name: str, why: str | None, console: Console) -> None:
    """Withdraw a published record: write a file beside it with the reason.

    Raises:
        UserError: no reason, no such record, or it is withdrawn already.
    """
    if not why or not why.strip():
        fix = "add --why SENTENCE: the page shows it in place of the figure"
        raise UserError("publish --retract", "no reason", fix)
    path = record_tree.retract(workspace.published_records, name, " ".join(why.split()))
    console.print(f"withdrawn by {path}. Next: git add it.", soft_wrap=True, highlight=False)


def select_current(
    workspace: Workspace,
    benchmark: Benchmark,
    fit: list[Record],
    public: list[Record],
) -> tuple[list[Record], Counter[str]]:
    """Return the records that count for their cells now, and why the others do not.

    Args:
        workspace: the checkout.
        benchmark: the benchmark of the records.
        fit: records that may be published.
        public: published records; one of them may count in place of a new one.
    """
    planned = list(plans(workspace, [benchmark], [*fit, *public])) if fit else []
    today = {cell.key for plan in planned for cell in plan.cells.values()}
    own_keys = Counter(one.key for one in fit if one.key in today)
    chosen = select(planned, [*fit, *public]).values()
    counted = [one.record for one in chosen if one.record and one.record.key in own_keys]
    stale = sum(one.key not in today for one in fit)
    replaced = own_keys.total() - len(counted)
    return counted, Counter({"stale": stale, "another record of its cell counts": replaced})


def explain_exclusion(record: Record, withdrawn: set[str], *, include_local: bool) -> str | None:
    """Return why a record may not be published whatever the plan, or ``None``.

    Args:
        record: a record of this machine.
        withdrawn: results that were retracted.
        include_local: accept records without isolation.
    """
    if record.environment.executor != "docker" and not include_local:
        return "made without isolation"
    if record.result in withdrawn:
        return "withdrawn"
    return record.status if record.status in TRANSIENT else None


def print_summary(
    console: Console, new: list[Record], old: int, left: Counter[str], *, dry_run: bool
) -> None:
    """Print what was copied, what was left out and why, and the next step."""

    def line(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    word = "would be published" if dry_run else "published"
    line(f"{len(new)} {'record' if len(new) == 1 else 'records'} {word}, {old} published before.")
    for reason, count in left.most_common():
        line(f"  {count} left out: {reason}")
    dirty = sum(bool(record.run.dirty) for record in new)
    if dirty:
        line(f"  {dirty} made from files that were not committed: commit those too.")
    if new and not dry_run:
        line("Next: git add reports/records, and gauntlet report to see them.")
