"""``gauntlet list`` and ``gauntlet show``: what there is, and one cell's record."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.table import Table

from harness import records
from harness.catalog import FOLDERS
from harness.errors import UserError
from harness.workspace import Workspace

MADE = {"docker": "in containers", "local": "without isolation (self-reported)"}


def list_all(workspace: Workspace, console: Console) -> None:
    """Modules, benchmarks and data sets, a line each."""
    from harness.datasets import DATASETS

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
    for data in DATASETS.values():
        table.add_row(data.name, data.task, "yes" if data.bundled else "fetch", data.card.size)
    console.print(table)


def find_record(workspace: Workspace, text: str) -> dict[str, Any]:
    """The record of a cell that counts, by its id or a part of it that fits one cell only.

    Raises:
        UserError: none or several cells fit.
    """
    roots = (workspace.local_records, workspace.published_records)
    found, _ = records.load_all(*roots)
    by_id: dict[str, list[dict[str, Any]]] = {}
    for record in sorted(found, key=lambda r: r["run"]["finished"]):
        by_id.setdefault(record["id"], []).append(record)
    fitting = [text] if text in by_id else [cell for cell in by_id if text in cell]
    if len(fitting) == 1:
        return counting(workspace, by_id[fitting[0]])
    if not fitting:
        for cell, reason in records.withdrawals(*roots).items():
            if text in cell:
                raise UserError(cell, reason, "gauntlet run its benchmark for a new record")
        raise UserError(text, "no record of such a cell", "see gauntlet plan BENCH for cell ids")
    raise UserError(text, f"{len(fitting)} cells match", f"give more, such as {fitting[0]}")


def counting(workspace: Workspace, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Of one cell's records, oldest first, the one that the report shows.

    That is the newest, unless both executors made some: then containers go first, if that record is
    of today's plan. Only then anything is planned here.
    """
    environments = [record["environment"] for record in found]
    ways = {(environment["executor"], environment["device"]) for environment in environments}
    info = found[-1]["cell"]
    with suppress(UserError):  # the benchmark is gone, or broken: the newest has to do
        for executor, device in sorted(ways) if len(ways) > 1 else ():
            benchmark = workspace.benchmark(info["benchmark"])
            plan = workspace.plan(benchmark, {"matrix": {info["matrix"]}}, device, executor)
            cell = plan.cells.get(found[-1]["id"])
            fresh = [record for record in found if cell and record["key"] == cell.key]
            if fresh:
                return fresh[-1]
    return found[-1]


def show(workspace: Workspace, text: str, console: Console) -> None:
    """One record for people."""
    record = find_record(workspace, text)

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False, markup=False)

    say(record["id"])
    by = f", by {record['by']}" if record.get("by") else ""
    say(f"status: {record['status']}{by}" + (f" – {record['reason']}" if record["reason"] else ""))
    for name, metric in record["metrics"].items():
        say(f"  {name:26} {number(metric)}")
    for flag in record["flags"]:
        say(f"  flag {flag['name']}: {flag['text']}")
    for note in record["notes"]:
        say(f"  note: {note}")
    for role, key in record["stages"].items():
        seconds = record["run"]["seconds"].get(role)
        say(f"  {role:15} {key[:12]}" + (f"  {seconds:.2f} s" if seconds is not None else ""))
    run = record["run"]
    say(f"made {run['finished']} {MADE[record['environment']['executor']]} on {run['machine']}")
    for image in sorted(set(run.get("images", {}).values())):
        say(f"image {image}")
    say(f"commit {run['commit']}{' (changed files)' if run['dirty'] else ''}")
    say(f"result {record['result'][:16]}")


def number(metric: dict[str, Any]) -> str:
    """A figure with interval and counts, or why there is none."""
    if "absent" in metric:
        return f"– ({metric['absent']})"
    text = f"{metric['value']:.4f}"
    if metric.get("lo") is not None:
        text += f"  {metric['lo']:.4f}–{metric['hi']:.4f} ({metric['method']}, 95 %)"
    if metric.get("n") is not None:
        text += f"  {metric['k']}/{metric['n']}"
    return text
