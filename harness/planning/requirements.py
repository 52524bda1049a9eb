"""Requirements of modules: each cell's facts against what the manifests ask for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.config.budget import NORMS, BudgetEntry
from harness.config.field_types import Value
from harness.config.manifest_parts import Requirement, matches
from harness.datasets import Dataset
from harness.planning.cell_setting import CellSetting
from harness.planning.resolved_entry import MINIMAL, ResolvedEntry


@dataclass(frozen=True)
class CellFacts:
    """Facts of a cell that a module may require, as sets of words.

    Attributes:
        tasks: the task.
        inputs: the kind of inputs.
        limits: how the budget limits perturbations, all at once; empty where it does not.
        goals: ``untargeted`` or ``targeted``.
        answers: the form of an oracle's answers; empty without an oracle.
        edits: what the budget lets edits change.
        targets: ``class`` or ``next``, how the budget of a backdoor names its target; else empty.
        knowledge: whether the matrix grants a network beside the data.
        adversary: whether the defence's entry names an adversary.
        offers: what the victim offers beyond its outputs.
        shape: shape of one input, ``(C, H, W)`` for pictures; empty where it is not known.
        classes: number of classes, in ranking of outputs; ``None`` where it is not known.
    """

    tasks: frozenset[str]
    inputs: frozenset[str]
    limits: frozenset[str] = field(default=frozenset())
    goals: frozenset[str] = field(default=frozenset({"untargeted"}))
    answers: frozenset[str] = field(default=frozenset())
    edits: frozenset[str] = field(default=frozenset())
    targets: frozenset[str] = field(default=frozenset())
    knowledge: bool = False
    adversary: bool = False
    offers: frozenset[str] = field(default=frozenset())
    shape: tuple[int, ...] = ()
    classes: int | None = None


def perturbation_limits(budget: BudgetEntry) -> frozenset[str]:
    """Return the ways in which a budget limits perturbations: norm, patch, pixels, or not.

    >>> sorted(perturbation_limits(BudgetEntry(norm="l2", eps=0.5, patch=3)))
    ['l2', 'patch']
    >>> sorted(perturbation_limits(BudgetEntry(norm="l2", minimal=True)))
    ['minimal_l2']
    """
    fields = ("per_channel", "patch", "pixels", "unbounded")
    found = [name for name in fields if getattr(budget, name)]
    if budget.norm:
        found.append(f"{MINIMAL}{budget.norm}" if budget.minimal else budget.norm)
    return frozenset(found)


def _target(target: int | str) -> str:
    return target if isinstance(target, str) else "class"


def allowed_edits(budget: BudgetEntry) -> frozenset[str]:
    """Return what a budget lets edits change.

    >>> sorted(allowed_edits(BudgetEntry(edits=0.1, labels=True)))
    ['labels']
    """
    found = {"labels": budget.labels, "features": budget.features}
    return frozenset(name for name, allowed in found.items() if allowed)


ONE_OF = {
    "tasks": "the task is",
    "inputs": "the inputs are",
    "goals": "the goal is",
    "answers": "the answers are",
}
"""Requirements of which a cell must have one → how a reason begins."""


def check_requirements(entry: ResolvedEntry, facts: CellFacts) -> str | None:
    """Return the first requirement of a module that a cell does not meet, or ``None``.

    Args:
        entry: the module, with its parameters.
        facts: the facts of the cell.
    """
    manifest = entry.manifest
    kind = {"defense": "defence"}.get(manifest.kind, manifest.kind)
    name = f"{kind} {entry.label}"
    needed = [one for one in manifest.requires if matches(one.when, entry.params)]
    if kind == "attack" and facts.limits and not entry.limits:
        return f"the budget has {_fields(facts.limits)}, and {name} names no limit that it keeps"
    targets = {target for one in needed for target in one.targets} or {"class"}
    if kind == "attack" and facts.targets - targets:
        has, planted = (" or ".join(sorted(some)) for some in (facts.targets, targets))
        return f"the backdoor's target is {has}, and {name} plants one of the kind {planted}"
    reasons = (reason for one in needed for reason in _unmet(one, facts, name, entry.params))
    return next(reasons, None)


def find_unmet(s: CellSetting) -> str | None:
    """Return the first requirement of a cell's modules that it does not meet, or ``None``.

    A defence's adversary is asked too, under the budget of its training. A victim is built for the
    data of every role.
    """
    entries = (s.victim, s.surrogate, s.defense, s.attacker)
    adversary, limits = s.defense.adversary, frozenset[str]()
    cell = cell_facts(s)
    asked = [(entry, cell) for entry in entries if entry is not None]
    asked += [(s.victim, _with_data(cell, data)) for data in s.context.sets.values()]
    if adversary is not None:
        limits = perturbation_limits(BudgetEntry.model_validate(adversary.budget))
        asked.append((adversary, CellFacts(cell.tasks, cell.inputs, limits)))
    reasons = (check_requirements(entry, facts) for entry, facts in asked)
    reason = next((reason for reason in reasons if reason), None)
    if reason is None and adversary is not None and limits - adversary.limits:
        reason = f"attack {adversary.label} gets no radius, and the training has {_fields(limits)}"
    return reason


def cell_facts(s: CellSetting) -> CellFacts:
    """Return the facts of a cell."""
    data, budget = s.context.student, s.budget.entry
    oracle = s.threat.access == "oracle"
    found = CellFacts(
        tasks=frozenset({data.task}),
        inputs=frozenset({data.inputs}),
        limits=perturbation_limits(budget),
        goals=frozenset({"untargeted" if s.matrix.goal.targeted is None else "targeted"}),
        answers=frozenset({budget.answers or "scores"} if oracle else ()),
        edits=allowed_edits(budget),
        targets=frozenset(() if budget.target is None else (_target(budget.target),)),
        knowledge=s.matrix.knowledge.kind != "none",
        adversary=s.defense.adversary is not None,
        offers=frozenset(s.victim.manifest.offers),
    )
    return _with_data(found, data)


def _with_data(facts: CellFacts, data: Dataset) -> CellFacts:
    """Return the facts of a cell with the shape and the classes of a data set, where known."""
    if data.facts is None:
        return facts
    return replace(facts, shape=data.facts.shape, classes=data.facts.outputs)


def _fields(limits: Collection[str]) -> str:
    """Return limits by the budget's fields: ``norm: l2 and patch``."""
    return " and ".join(
        f"norm: {name}" if name in NORMS else name.replace(MINIMAL, "minimal: true with norm: ")
        for name in sorted(limits)
    )


def _unmet(
    needed: Requirement, facts: CellFacts, name: str, params: Mapping[str, Value]
) -> Iterator[str]:
    """Yield a reason for each part of a requirement that the facts do not meet."""
    for key, beginning in ONE_OF.items():
        allowed, found = getattr(needed, key), getattr(facts, key)
        if allowed and found and not found & set(allowed):
            has = " and ".join(sorted(found))
            yield f"{beginning} {has}, and {name} needs {' or '.join(allowed)}"
    if needed.limits and (over := {one for one in facts.limits if not _keeps(needed, one)}):
        kept = ", ".join(needed.limits)
        yield f"the budget has {_fields(over)}, and {name} keeps only {kept}"
    for kind in needed.edits:
        if kind not in facts.edits:
            yield f"the budget allows no edits of {kind}, which {name} needs"
    yield from _unmet_shape(needed, facts, name)
    most = needed.most_classes(params)
    if most is not None and facts.classes is not None and facts.classes > most:
        yield f"the number of classes is {facts.classes}, and {name} has at most {most}"
    if needed.knowledge and not facts.knowledge:
        yield (
            f"the matrix grants no network, and {name} needs one: add knowledge: clean-victim or a "
            "surrogate"
        )
    if absent := sorted(set(needed.offers) - facts.offers):
        yield f"the victim offers no {', no '.join(absent)}, and {name} needs that"
    if needed.adversary and not facts.adversary:
        yield f"the entry has no adversary, and {name} needs one"


def _keeps(needed: Requirement, limit: str) -> bool:
    """Return whether a limit is kept: a radius also where the nearest wrong input is looked for."""
    return limit in needed.limits or f"{MINIMAL}{limit}" in needed.limits


def _unmet_shape(needed: Requirement, facts: CellFacts, name: str) -> Iterator[str]:
    """Yield a reason for each demand on pictures and classes that data do not meet."""
    if needed.takes_pictures and facts.inputs != {"images"}:
        yield f"the inputs are {' and '.join(sorted(facts.inputs))}, and {name} needs images"
    elif len(facts.shape) == 3:
        channels, *sides = facts.shape
        if needed.channels and channels not in needed.channels:
            allowed = _one_of(needed.channels)
            yield f"the number of channels is {channels}, and {name} needs {allowed}"
        if not all(map(needed.takes_side, sides)):
            found = "x".join(map(str, sides))
            yield f"the pictures are {found}, and {name} needs a side {needed.side_rule}"
    if needed.classes and facts.classes not in (None, *needed.classes):
        allowed = _one_of(needed.classes)
        yield f"the number of classes is {facts.classes}, and {name} needs {allowed}"


def find_remarks(s: CellSetting) -> list[str]:
    """Return the sentences of a cell's modules that hold for its data."""
    classes = cell_facts(s).classes
    return [
        one.text
        for entry in (s.victim, s.defense, s.attacker)
        for one in entry.manifest.remarks
        if matches(one.when, entry.params) and classes is not None and classes <= one.classes_max
    ]


def _one_of(values: Sequence[int]) -> str:
    return " or ".join(map(str, values))
