"""Checks of a module's results: its smoke expectation, and budgets at their edges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from harness.config.manifest_parts import Expect
from harness.conformance.opponents import opponents
from harness.conformance.runner import FAIR, CheckResult, SmokeRunner
from harness.conformance.smoke import BALL, EDGES, make_matrix, smoke_form, smoke_variant
from harness.results.records import Record

UNITS = (0.25, 1.0)
"""Units of channels in turn: an attack that keeps one radius exceeds the others."""

CONTROLS = {"attack": "noop", "defense": "none"}
"""Kind → its identity control."""


def check_expectation(
    runner: SmokeRunner,
    threat: str,
    task: str,
    records: Mapping[str, Record],
    variant: str | None,
) -> Iterator[CheckResult]:
    """Check that the smoke expectation holds for the module and fails for the identity control.

    Args:
        runner: has run the module's smoke matrix.
        threat: threat model of the matrix.
        task: task of the matrix.
        records: of the matrix, by cell id.
        variant: the module's variant in the matrix.
    """
    manifest = runner.module.manifest
    smoke, kind = manifest.smoke, manifest.kind
    if smoke is None or not smoke.expect:
        detail = "add smoke: {expect: …} to the manifest"
        yield CheckResult("smoke expectation given", manifest.name == "none", detail)
        return
    if smoke.task not in (None, task) or smoke.threat_model not in (None, threat):
        return
    good = [r for r in records.values() if r.status == "ok"]
    own = [r for r in good if runner.is_own(r, variant)]
    if kind == "defense":  # beside noop, the matrix holds the reference attack
        names = [one.attack for one in opponents(threat, task)[:1]]
        good, own = ([r for r in some if r.cell.attack in names] for some in (good, own))
    has_control = kind in CONTROLS and manifest.name != CONTROLS[kind]
    control = [r for r in good if has_control and getattr(r.cell, kind) == CONTROLS[kind]]
    for metric, expect in smoke.expect.items():
        values = get_values(own, metric)
        if all(v is None for v in values):
            continue
        reached = all(v is not None and fits(expect, v) for v in values)
        found = f"found {_numbers(values)}, expected {_range(expect)}"
        yield CheckResult(f"expects {metric} {threat}/{task}", reached, found)
        if has_control:
            fooled = [v for v in get_values(control, metric) if v is not None and fits(expect, v)]
            detail = f"the identity control reaches {fooled}: the expectation tests nothing"
            name = f"control fails {metric} {threat}/{task}"
            yield CheckResult(name, not fooled, detail if fooled else "")


def get_values(records: Iterable[Record], metric: str) -> list[float | None]:
    """Get a metric's value of each record; ``None`` where it is undefined."""
    return [record.metric(metric) for record in records]


def _numbers(values: Iterable[float | None]) -> str:
    return ", ".join("no figure" if value is None else f"{value:.4g}" for value in values)


def _range(expect: Expect) -> str:
    """Return an expected range in words.

    >>> _range(Expect(min=0.5)), _range(Expect(min=0, max=0.2))
    ('at least 0.5', '0 to 0.2')
    """
    if expect.min is None or expect.max is None:
        return f"at most {expect.max:g}" if expect.min is None else f"at least {expect.min:g}"
    return f"{expect.min:g} to {expect.max:g}"


def fits(expect: Expect, value: float) -> bool:
    """Return whether a value lies in an expected range."""
    above = expect.min is None or value >= expect.min
    return above and (expect.max is None or value <= expect.max)


def check_budget_edges(runner: SmokeRunner, threat: str, task: str) -> Iterator[CheckResult]:
    """Check that an attack keeps very small and very large budgets, as measured by the judge."""
    module = runner.module
    if module.manifest.kind != "attack":
        return
    budgets = [dict(edge) for edge in EDGES[threat]]
    if threat == "supply-chain" or (task == "segmentation" and threat != "evasion"):
        budgets = budgets[:1]
    variant = smoke_variant(module)
    if threat == "evasion" and any("per_channel" in one.limits for one in module.manifest.requires):
        channels = smoke_form(module, task, variant).channels
        budgets.append(BALL | {"per_channel": [UNITS[i % len(UNITS)] for i in range(channels)]})
    for budget in budgets:
        records = runner.run(make_matrix(module, threat, task, variant, budget))
        own = [r for r in records.values() if runner.is_own(r, variant)]
        bad = [f"{r.status}: {runner.reason_of(r)}" for r in own if r.status not in FAIR]
        label = own[0].cell.budget_label if own else str(budget)
        yield CheckResult(f"keeps budget {threat}/{task} {label}", not bad, "; ".join(bad))
