"""Rules that exclude a cell: each returns one sentence, or ``None``."""

from __future__ import annotations

from harness.planning.cell_setting import CellSetting
from harness.planning.networks import TRAINING_HOOKS
from harness.planning.resolved_entry import ResolvedEntry

HEADLESS = ("features", "maps")
"""What a network offers whose last layer is new: nothing that depends on its outputs."""


def find_exclusion(s: CellSetting) -> str | None:
    """Return the reason of the first rule that excludes a cell, or ``None``."""
    return next((reason for rule in RULES if (reason := rule(s))), None)


def check_task(s: CellSetting) -> str | None:
    """Return why threat model or modules are not written for the task."""
    task = s.context.task
    if task not in s.threat.tasks:
        return f"{s.threat.name} is not defined for {task}"
    for entry in (s.victim, s.defense, s.attacker):
        if task not in entry.manifest.tasks:
            return f"{task} is not a task of {entry.manifest.kind} {entry.name}"
    return None


def check_threat_model(s: CellSetting) -> str | None:
    """Return why attack or defence play no part in the threat model."""
    threat, attack, defense = s.threat, s.attacker.manifest, s.defense.manifest
    if not attack.plays(threat.name):
        return f"{threat.name} is not a threat model of attack {attack.name}"
    if missing := [hook for hook in threat.hooks if hook not in attack.hooks]:
        return f"attack {attack.name} has no {missing[0]} hook, which {threat.name} needs"
    if not defense.plays(threat.name):
        return f"{threat.name} is not a threat model of defence {defense.name}"
    if defense.hooks and not set(defense.hooks) & set(threat.defense_hooks):
        return f"no hook of defence {defense.name} plays a part in {threat.name}"
    return None


def check_access(s: CellSetting) -> str | None:
    """Return what the attack needs of the network that the threat model does not grant."""
    threat, attack, victim = s.threat, s.attacker.manifest, s.victim.manifest
    needs = set(attack.needs)
    if s.matrix.goal.targeted == "least_likely" and threat.access != "victim":
        return f"the goal least_likely needs the victim's outputs, which {threat.name} withholds"
    if attack.no_model_access:
        return None
    if threat.access == "oracle" and needs:
        return (
            f"attack {attack.name} needs {', '.join(sorted(needs))}; an oracle gives answers only"
        )
    if threat.access in ("victim", "source") and not needs <= set(victim.offers):
        absent = ", ".join(sorted(needs - set(victim.offers)))
        return f"attack {attack.name} needs {absent}, which victim {victim.name} does not offer"
    other_classes = "public" in s.matrix.data and s.surrogate is None
    if threat.access == "source" and "loss" in needs and other_classes:
        return (
            f"attack {attack.name} needs a loss on the student's labels; the public network has "
            "other classes"
        )
    return None


def check_public_weights(s: CellSetting) -> str | None:
    """Return what the attack needs that existing weights do not offer as the public network."""
    if not s.headless:
        return None
    attack = s.attacker.manifest
    needs = () if attack.no_model_access else attack.needs
    if absent := sorted(set(needs) - set(HEADLESS)):
        return (
            f"attack {attack.name} needs {', '.join(absent)}; the public network is existing "
            f"weights with a new last layer, which offer {' and '.join(HEADLESS)} alone"
        )
    if s.attacker.uses("learn"):
        return (
            f"attack {attack.name} learns from the public network's training data, and existing "
            "weights come without any"
        )
    return None


def check_adaptive(s: CellSetting) -> str | None:
    """Return which defences an adaptive attack is written against, if this is another one."""
    attack = s.attacker.manifest
    if attack.against and not {s.defense.label, s.defense.name} & set(attack.against):
        return f"attack {attack.name} is made against {', '.join(attack.against)} only"
    return None


def check_weights(s: CellSetting) -> str | None:
    """Return why a victim that is not trained here has no training set to edit."""
    if s.victim.pretrained and (s.threat.poisons or "sanitize" in s.defense.manifest.hooks):
        return f"victim {s.victim.name} comes with its weights, so its training set plays no part"
    return None


def _unnamed_weights(victim: ResolvedEntry) -> str:
    """Say which weights a victim's entry might name, if there are any."""
    known = victim.manifest.weights
    return f", as no entry names its weights ({', '.join(known)})" if known else ""


def check_examples(s: CellSetting) -> str | None:
    """Return what needs training or validation examples that the student's data lack."""
    data = s.context.student
    sizes = data.here or data.facts
    if sizes is None:
        return None
    victims = [one for one in (s.victim, s.surrogate) if one is not None and not one.pretrained]
    defense, attack = s.defense, s.attacker
    trained = [f"victim {one.name} is trained{_unnamed_weights(one)}" for one in victims]
    trained += [f"defence {defense.name} trains"] * defense.uses(*TRAINING_HOOKS, "sanitize")
    learns = attack.uses("learn") and "learn" in s.threat.optional
    trained += [f"attack {attack.name} learns"] * learns
    if trained and not sizes.train:
        return f"{data.name} has no training examples, and {trained[0]}"
    if defense.uses("repair") and not sizes.val:
        return f"{data.name} has no validation examples, and defence {defense.name} repairs on them"
    return None


RULES = (
    check_task,
    check_threat_model,
    check_access,
    check_public_weights,
    check_adaptive,
    check_weights,
    check_examples,
)
"""The rules in order; the first reason counts."""
