"""Rules that say why a cell cannot be: each returns one sentence, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from harness import datasets
from harness.config.benchmark import Matrix
from harness.config.budget import BudgetEntry
from harness.config.manifest import Manifest
from harness.config.manifest_parts import Requirement, chosen
from harness.config.threat import THREATS, ThreatModel
from harness.planning.entry import Subject


@dataclass(frozen=True)
class Facts:
    """Facts of a cell that a module may require, as sets of words.

    Attributes:
        tasks: the task.
        inputs: the kind of inputs.
        limits: how the budget limits perturbations; empty where it does not.
        goals: ``untargeted`` or ``targeted``.
        answers: the form of an oracle's answers; empty without an oracle.
        edits: what the budget lets edits change.
        knowledge: whether the matrix grants a network beside the data.
        adversary: whether the defence's entry names an adversary.
    """

    tasks: frozenset[str]
    inputs: frozenset[str]
    limits: frozenset[str] = field(default=frozenset())
    goals: frozenset[str] = field(default=frozenset({"untargeted"}))
    answers: frozenset[str] = field(default=frozenset())
    edits: frozenset[str] = field(default=frozenset())
    knowledge: bool = False
    adversary: bool = False


def limits_of(budget: BudgetEntry) -> frozenset[str]:
    """Return the ways in which a budget limits perturbations: a norm, a patch, or nothing.

    >>> sorted(limits_of(BudgetEntry(norm="l2", eps=0.5, patch=3)))
    ['l2', 'patch']
    """
    found = {budget.norm, "patch" if budget.patch else None}
    found.add("unbounded" if budget.unbounded else None)
    return frozenset(name for name in found if name)


def edits_of(budget: BudgetEntry) -> frozenset[str]:
    """Return what a budget lets edits change.

    >>> sorted(edits_of(BudgetEntry(edits=0.1, labels=True)))
    ['labels']
    """
    found = {"labels": budget.labels, "features": budget.features}
    return frozenset(name for name, allowed in found.items() if allowed)


ONE_OF = {
    "tasks": "the task is",
    "inputs": "the inputs are",
    "limits": "the budget has",
    "goals": "the goal is",
    "answers": "the answers are",
}
"""Requirements of which a cell must have one → how a reason begins."""


def unmet(subject: Subject, facts: Facts) -> str | None:
    """Return the first requirement of a module that a cell does not meet, or ``None``.

    Args:
        subject: the module, with its parameters.
        facts: what the cell has.
    """
    assert subject.module is not None
    manifest = subject.module.manifest
    kind = {"defense": "defence"}.get(manifest.kind, manifest.kind)
    who = f"{kind} {subject.label}"
    needed = (one for one in manifest.requires if chosen(one.when, subject.params))
    return next((reason for one in needed for reason in _lacks(one, facts, who)), None)


def first_unmet(
    matrix: Matrix,
    budget: BudgetEntry,
    victim: Subject,
    defense: Subject,
    attack: Subject,
    surrogate: Subject | None,
) -> str | None:
    """Return the first requirement of a cell's modules that it does not meet, or ``None``.

    Args:
        matrix: the cell's matrix.
        budget: one of its budgets.
        victim: the cell's victim.
        defense: the cell's defence; what it trains against is asked too, under its own budget.
        attack: the cell's attack.
        surrogate: the network that the attacker trains, or ``None``.
    """
    data = datasets.get(matrix.data["student"].name)
    oracle = THREATS[matrix.threat_model].access == "oracle"
    cell = Facts(
        tasks=frozenset({data.task}),
        inputs=frozenset({data.inputs}),
        limits=limits_of(budget),
        goals=frozenset({"untargeted" if matrix.goal.targeted is None else "targeted"}),
        answers=frozenset({budget.answers or "scores"} if oracle else ()),
        edits=edits_of(budget),
        knowledge=matrix.knowledge.kind != "none",
        adversary=defense.adversary is not None,
    )
    asked = [(one, cell) for one in (victim, surrogate, defense, attack) if one is not None]
    if defense.adversary is not None:
        training = Facts(
            cell.tasks,
            cell.inputs,
            limits_of(BudgetEntry.model_validate(defense.adversary.budget)),
        )
        asked.append((defense.adversary, training))
    reasons = (unmet(one, facts) for one, facts in asked)
    return next((reason for reason in reasons if reason), None)


def _lacks(needed: Requirement, facts: Facts, who: str) -> Iterator[str]:
    # no reason begins with the module: one that begins with the defence is booked as its evasion
    for name, begins in ONE_OF.items():
        allowed, found = getattr(needed, name), getattr(facts, name)
        if allowed and found and not found & set(allowed):
            has = " and ".join(sorted(found))
            yield f"{begins} {has}, and {who} needs {' or '.join(allowed)}"
    for kind in needed.edits:
        if kind not in facts.edits:
            yield f"the budget allows no edits of {kind}, which {who} needs"
    if needed.knowledge and not facts.knowledge:
        yield (
            f"the matrix grants no network, and {who} needs one: add knowledge: clean-victim or a "
            "surrogate"
        )
    if needed.adversary and not facts.adversary:
        yield f"the entry has no adversary, and {who} needs one"


def reason_not(
    *,
    threat: ThreatModel,
    task: str,
    victim: Manifest,
    defense: Manifest,
    attack: Manifest,
    defense_label: str,
    same_labels: bool,
    least_likely: bool,
    given: bool = False,
) -> str | None:
    """The first rule that rules a cell out, as a sentence, or ``None``.

    Args:
        threat: the matrix's threat model. task: the data set's task.
        victim, defense, attack: the modules. defense_label: how the matrix names the defence.
        same_labels: whether the network that the attack holds has the student's classes.
        least_likely: whether the goal needs the model's own outputs.
        given: whether the victim comes with existing weights.
    """
    rules = (
        _by_task(threat, task, victim, defense, attack),
        _by_threat(threat, defense, attack),
        _by_access(threat, victim, attack, same_labels, least_likely),
        _by_target(defense_label, defense, attack),
        _by_weights(threat, victim, defense, given),
    )
    return next((rule for rule in rules if rule), None)


def _by_task(
    threat: ThreatModel, task: str, victim: Manifest, defense: Manifest, attack: Manifest
) -> str | None:
    if task not in threat.tasks:
        return f"{threat.name} is not defined for {task}"
    for module in (victim, defense, attack):
        if task not in module.tasks:
            return f"{task} is not a task of {module.kind} {module.name}"
    return None


def _by_threat(threat: ThreatModel, defense: Manifest, attack: Manifest) -> str | None:
    if not attack.plays(threat.name):
        return f"{threat.name} is not a threat model of attack {attack.name}"
    if missing := [hook for hook in threat.hooks if hook not in attack.hooks]:
        return f"attack {attack.name} has no {missing[0]} hook, which {threat.name} needs"
    if not defense.plays(threat.name):
        return f"{threat.name} is not a threat model of defence {defense.name}"
    if defense.hooks and not set(defense.hooks) & set(threat.defense_hooks):
        return f"no hook of defence {defense.name} plays a part in {threat.name}"
    return None


def _by_access(
    threat: ThreatModel, victim: Manifest, attack: Manifest, same_labels: bool, least_likely: bool
) -> str | None:
    needs = set(attack.needs)
    if least_likely and threat.access != "victim":
        return f"the goal least_likely needs the victim's outputs, which {threat.name} withholds"
    if attack.no_model_access:
        return None
    if threat.access == "oracle" and needs:
        return (
            f"attack {attack.name} needs {', '.join(sorted(needs))}; an oracle gives answers only"
        )
    if threat.access in ("victim", "source") and not needs <= set(victim.offers):
        lacking = ", ".join(sorted(needs - set(victim.offers)))
        return f"attack {attack.name} needs {lacking}, which victim {victim.name} does not offer"
    if threat.access == "source" and "loss" in needs and not same_labels:
        return (
            f"attack {attack.name} needs a loss on the student's labels; the public network has "
            "other classes"
        )
    return None


def _by_target(label: str, defense: Manifest, attack: Manifest) -> str | None:
    if attack.against and not {label, defense.name} & set(attack.against):
        return f"attack {attack.name} is made against {', '.join(attack.against)} only"
    return None


def _by_weights(
    threat: ThreatModel, victim: Manifest, defense: Manifest, given: bool
) -> str | None:
    if given and (threat.poisons or "sanitize" in defense.hooks):
        return f"victim {victim.name} comes with its weights, so its training set plays no part"
    return None
