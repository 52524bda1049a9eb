"""Provenance of a page's records: keys, environment, cost, time; how they are made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.cells import CellRow
from harness.report.site import format
from harness.report.site.views import CellPage
from harness.results.checks import RecordedCheck
from harness.results.record_parts import STEPS
from harness.results.records import Record, outcome_of
from harness.results.replications import PLACES, compare
from harness.results.times import recorded_seconds


@dataclass(frozen=True)
class Fact:
    """One fact about the origin of records.

    Attributes:
        name: its name.
        values: one text a record, or one for all.
    """

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Provenance:
    """Provenance of a page's records.

    Attributes:
        common: facts that all records share.
        own: anchor of a budget → the other facts.
    """

    common: tuple[Fact, ...]
    own: Mapping[str, tuple[Fact, ...]]


def provenance(cell: CellPage) -> Provenance:
    """Return the provenance of a cell page's records."""
    told = {s.anchor: [_facts(line) for line in s.lines if line.record] for s in cell.sections}
    every = [one for facts in told.values() for one in facts]
    first = every[0] if every else {}
    alike = {name for name, v in first.items() if all(one.get(name) == v for one in every)}
    own = {
        anchor: tuple(
            _fact(name, facts)
            for name in dict.fromkeys(name for one in facts for name in one)
            if name not in alike
        )
        for anchor, facts in told.items()
    }
    return Provenance(tuple(Fact(n, (v,)) for n, v in first.items() if n in alike), own)


def _fact(name: str, facts: Sequence[Mapping[str, str]]) -> Fact:
    values = tuple(one.get(name, "–") for one in facts)
    return Fact(name, values[:1] if len(set(values)) == 1 else values)


def _checked(check: RecordedCheck) -> str:
    """Return whether a module passed ``gauntlet check``, in words."""
    if check.state == "unchecked":
        return "not checked"
    place = {"docker": "in containers", "local": "without containers"}.get(check.executor or "", "")
    parts = [f"{check.state} {place}", *check.failures]
    parts += [f"not tried: {name}" for name in check.untried]
    return "; ".join(parts)


def _facts(line: CellRow) -> dict[str, str]:
    assert line.record is not None
    record, run = line.record, line.record.run
    found = {"key": line.key[:12], "result": record.result[:12]}
    found["outcome"] = outcome_of(record)[:12]
    others = line.replications.others if line.replications else ()
    for i, other in enumerate(sorted(others, key=lambda one: one.run.finished)):
        found[f"made before or elsewhere, {i + 1}"] = _made(other, record)
    found |= {f"stage {name}": key[:12] for name, key in record.stages.items()}
    found |= {f"module {name}": key[:12] for name, key in record.modules.items()}
    found |= {f"check {name}": _checked(check) for name, check in line.checks.items()}
    for role, params in record.params.items():
        found |= {f"{role} {name}": format.number(value) for name, value in params.items()}
    place = record.environment.model_dump(exclude={"lock"})
    found |= {name: format.number(value) for name, value in sorted(place.items())}
    found["lock file"] = record.environment.lock[:12]
    found["method"] = format.number(record.method)
    for name, value in (record.queries or {}).items():
        found[f"queries {name}"] = format.number(value)
    for stage, passes in record.cost.items():
        rows = [f"{format.number(n)} {what}" for what, n in passes.items() if what != STEPS]
        if rows:
            found[f"rows through the network, {stage}"] = ", ".join(rows)
        if STEPS in passes:
            found[f"training steps, {stage} (self-reported)"] = format.number(passes[STEPS])
    found |= {f"time {s}": format.duration(t) for s, t in run.seconds.items()}
    found |= {f"memory {s}": format.size(m) for s, m in run.peak_memory.items()}
    images: dict[str, list[str]] = {}
    for stage, image in run.images.items():
        images.setdefault(image[:19], []).append(stage)
    for i, (image, stages) in enumerate(images.items()):
        found[f"image {i + 1}" if i else "image"] = f"{image} ({', '.join(stages)})"
    return found | {
        "run": run.id,
        "commit": _commit(record),
        "machine": run.machine,
        "finished": run.finished,
    }


def _commit(record: Record) -> str:
    run = record.run
    return f"{(run.commit or 'no commit')[:12]}{', changed' if run.dirty else ''}"


def _made(other: Record, record: Record) -> str:
    """Return where and when a replication was made, and how far it agrees."""
    place = PLACES[other.environment.executor]
    return (
        f"{compare(record, other)}; {place} on {other.run.machine}, {other.run.finished}, "
        f"commit {_commit(other)}"
    )


def replicated(lines: Sequence[CellRow]) -> tuple[str, ...]:
    """Return sentences on the replications of a budget's seeds, equal ones once."""
    seeds: dict[str, list[str]] = {}
    for line in lines:
        if line.replications:
            seeds.setdefault(str(line.replications), []).append(str(line.seed))
    measured = sum(line.status == "ok" for line in lines)
    return tuple(
        f"{_named(found, measured)} {text}" if measured > 1 else text
        for text, found in seeds.items()
    )


def _named(seeds: Sequence[str], measured: int) -> str:
    if len(seeds) == measured:
        return "each seed was"
    return f"seeds {', '.join(seeds)} were" if len(seeds) > 1 else f"seed {seeds[0]} was"


@dataclass(frozen=True)
class Redo:
    """What it takes to make a budget's records again.

    Attributes:
        commits: commits that made them, abbreviated.
        seconds: time of their stages, ``None`` where it is unknown.
        machines: machines on which they took so long.
    """

    commits: tuple[str, ...]
    seconds: float | None
    machines: tuple[str, ...]


def redo(lines: Sequence[CellRow]) -> Redo:
    """Return what it takes to make a budget's records again."""
    found = [line.record for line in lines if line.record]
    return Redo(
        commits=tuple(sorted({r.run.commit[:12] for r in found if r.run.commit})),
        seconds=recorded_seconds(found),
        machines=tuple(sorted({record.run.machine for record in found})),
    )
