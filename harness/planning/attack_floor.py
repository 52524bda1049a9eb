"""Floor of attacks: the kinds that a matrix names before the robust scores in it mean something.

Gradient attacks that a defence blinds and nothing else leave a defence with a high score that it
has not earned (Athalye, Carlini and Wagner 2018; Carlini et al. 2019), and so does a single idea,
tried in several variants. A matrix without one of the kinds below is *thin*: it may run, and its
page says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from harness.config.attack_family import attack_family
from harness.config.manifest_parts import matches
from harness.config.threat import CONTROLS, THREATS, ThreatModel
from harness.planning.cell_setting import CellBudget, CellSetting, MatrixContext
from harness.planning.requirements import cell_facts, check_requirements
from harness.planning.resolve import ResolvedMatrix
from harness.planning.resolved_entry import ResolvedEntry


def is_control(attack: ResolvedEntry) -> bool:
    """Return whether an attack is a control: it does not look for errors of the network."""
    return attack.name in CONTROLS["attack"]


def is_scale_invariant(attack: ResolvedEntry) -> bool:
    """Return whether an attack reads gradients, and is the same at every scale of the logits."""
    when = attack.manifest.scale_invariant_when
    reads = {"loss", "gradients"} & set(attack.manifest.needs)
    return bool(reads) and when is not None and matches(when, attack.params)


def is_query_attack(attack: ResolvedEntry) -> bool:
    """Return whether answers of the network are all that an attack needs."""
    manifest = attack.manifest
    oracle = any(THREATS[name].access == "oracle" for name in manifest.threat_models)
    return oracle and not manifest.needs and not is_control(attack)


def has_two_families(attacks: Sequence[ResolvedEntry]) -> bool:
    """Return whether attacks look for errors in more than one way; controls do not look."""
    return len({attack_family(one.manifest) for one in attacks if not is_control(one)}) > 1


def some(test: Callable[[ResolvedEntry], bool]) -> Callable[[Sequence[ResolvedEntry]], bool]:
    """Return the test of several attacks whether one of them passes."""
    return lambda attacks: any(map(test, attacks))


class Kind(NamedTuple):
    """Kind of attack that belongs to the floor.

    Attributes:
        among: whether some attacks have it.
        example: a bundled attack of the kind, as a benchmark names it.
        everywhere: whether each threat model and task needs it, not only those with a ``floor``.
    """

    among: Callable[[Sequence[ResolvedEntry]], bool]
    example: str
    everywhere: bool = False


KINDS: dict[str, Kind] = {
    "scale-invariant gradient attack": Kind(some(is_scale_invariant), "apgd/dlr"),
    "query attack": Kind(some(is_query_attack), "square"),
    "control": Kind(some(is_control), CONTROLS["attack"][0]),
    "second family of attacks": Kind(has_two_families, "an attack of another family", True),
}
"""THE table of the floor: kind, in the words of people → its test and an example."""


def missing_kinds(threat: ThreatModel, task: str, attacks: Sequence[ResolvedEntry]) -> list[str]:
    """Return the kinds of ``KINDS`` that are not among some attacks.

    Args:
        threat: the threat model.
        task: the task.
        attacks: attacks that can be played.
    """
    able = [attack for attack in attacks if attack.manifest.plays(threat.name)]
    return [
        name
        for name, kind in KINDS.items()
        if (kind.everywhere or task in threat.floor) and not kind.among(able)
    ]


def find_thin(context: MatrixContext, entries: ResolvedMatrix) -> tuple[str, ...]:
    """Return the kinds that a matrix lacks under at least one of its budgets, in order.

    An attack whose manifest ``requires`` something else than the matrix has does not count.
    """
    found: set[str] = set()
    handed = [one for each in entries.hand_overs for one in each.members]
    # a control is a row of its own; who needs whole batches is handed nothing
    played = (one for one in handed if not (is_control(one) or one.manifest.batch_dependent))
    tried = [*entries.attacks, *played]
    for budget in entries.budgets:
        if budget.entry.minimal:
            continue  # no defence is ranked there
        able = [one for one in tried if _can_play(context, entries, one, budget)]
        found.update(missing_kinds(context.threat, context.task, able))
    return tuple(name for name in KINDS if name in found)


def _can_play(
    context: MatrixContext, entries: ResolvedMatrix, attack: ResolvedEntry, budget: CellBudget
) -> bool:
    victim, defense, seed = entries.victims[0], entries.defenses[0], context.matrix.seeds[0]
    setting = CellSetting(context, victim, defense, attack, budget, seed)
    return check_requirements(attack, cell_facts(setting)) is None
