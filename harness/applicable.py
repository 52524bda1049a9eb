"""Rules that say why a cell cannot be: each returns one sentence, or nothing."""

from __future__ import annotations

from harness.manifest import Manifest
from harness.threat import ThreatModel


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
