"""Provenance of a page's records: keys, environment, cost, time; each fact once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.cells import CellRow
from harness.report.site import format
from harness.report.site.views import CellPage
from harness.results.checks import RecordedCheck


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
        text = ", ".join(f"{format.number(n)} {what}" for what, n in passes.items())
        found[f"rows through the network, {stage}"] = text
    found |= {f"time {s}": format.duration(t) for s, t in run.seconds.items()}
    found |= {f"memory {s}": format.size(m) for s, m in run.peak_memory.items()}
    images: dict[str, list[str]] = {}
    for stage, image in run.images.items():
        images.setdefault(image[:19], []).append(stage)
    for i, (image, stages) in enumerate(images.items()):
        found[f"image {i + 1}" if i else "image"] = f"{image} ({', '.join(stages)})"
    commit = f"{(run.commit or 'no commit')[:12]}{', changed' if run.dirty else ''}"
    return found | {
        "run": run.id,
        "commit": commit,
        "machine": run.machine,
        "finished": run.finished,
    }
