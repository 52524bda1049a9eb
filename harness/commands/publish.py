"""``gauntlet publish``: copy the records that count to ``reports/records``, for a pull request."""

from __future__ import annotations

from collections import Counter

from rich.console import Console

from harness.common.errors import UserError, UserErrors
from harness.config.benchmark import Benchmark
from harness.report.selection import plans, select
from harness.results import records
from harness.results.records import Record
from harness.storage.store import TRANSIENT
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
    retracted, _ = records.retractions(workspace.published_records)
    withdrawn = {one.retraction.result for one in retracted if one.retraction}
    # times and machines differ between equal results: they need no second record
    known = {(record.key, record.result) for record in there}
    new: list[Record] = []
    old, left = 0, Counter[str]()
    for benchmark in benchmarks:
        own, public = (
            [one for one in some if one.cell.benchmark == benchmark.name] for some in (found, there)
        )
        reasons = [why_not(one, withdrawn, include_local=include_local) for one in own]
        left.update(filter(None, reasons))
        fit = [one for one, reason in zip(own, reasons, strict=True) if reason is None]
        counted, others = counting_today(workspace, benchmark, fit, public)
        left.update(others)
        fresh = [one for one in counted if (one.key, one.result) not in known]
        new, old = new + fresh, old + len(counted) - len(fresh)
    if not dry_run:
        for record in new:
            records.write(workspace.published_records, record)
    say(console, new, old, +left, dry_run=dry_run)
    if not new and not old:
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


def counting_today(
    workspace: Workspace,
    benchmark: Benchmark,
    fit: list[Record],
    public: list[Record],
) -> tuple[list[Record], Counter[str]]:
    """Return the records that count for their cells today, and why the others do not.

    Args:
        workspace: the checkout.
        benchmark: what was run.
        fit: its records that may be published.
        public: its records that were published; one of them may count in place of a new one.
    """
    planned = list(plans(workspace, [benchmark], [*fit, *public])) if fit else []
    today = {cell.key for plan in planned for cell in plan.cells.values()}
    ours = Counter(one.key for one in fit if one.key in today)
    chosen = select(planned, [*fit, *public]).values()
    counted = [one.record for one in chosen if one.record and one.record.key in ours]
    stale = sum(one.key not in today for one in fit)
    beaten = ours.total() - len(counted)
    return counted, Counter({"stale": stale, "another of its cell counts": beaten})


def why_not(record: Record, withdrawn: set[str], *, include_local: bool) -> str | None:
    """Return why a record may not be published, whatever is planned, or ``None``.

    Args:
        record: of a run on this machine.
        withdrawn: results that were retracted.
        include_local: also publish those without isolation.
    """
    if record.environment.executor != "docker" and not include_local:
        return "made without isolation"
    if record.result in withdrawn:
        return "withdrawn"
    return record.status if record.status in TRANSIENT else None


def say(
    console: Console, new: list[Record], old: int, left: Counter[str], *, dry_run: bool
) -> None:
    """What was copied, what was not and why, and what comes next."""

    def line(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    word = "would be published" if dry_run else "published"
    line(f"{len(new)} {'record' if len(new) == 1 else 'records'} {word}, {old} lay there already.")
    for reason, count in left.most_common():
        line(f"  {count} left out: {reason}")
    dirty = sum(bool(record.run.dirty) for record in new)
    if dirty:
        line(f"  {dirty} made from files that were not committed: commit those too.")
    if new and not dry_run:
        line("Next: git add reports/records, and gauntlet report to see them.")
